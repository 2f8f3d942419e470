/*
 * tai64.h - the stamps of log lines and log files: TAI64N as djb's tools write it.  Level strict.
 *
 * '@' and 24 lower-case hexadecimal digits: 16 of seconds, 8 of nanoseconds.  Seconds are
 * those of the system's clock plus 2^62 + 10, without a table of leap seconds, as multilog and
 * tai64nlocal count them.  Stamps of one width sort by time as text does.
 *
 * Pure functions but for ga_tai64n_now(); any thread; also linked into the command line tools.
 */
#ifndef GREENARROW_TAI64_H
#define GREENARROW_TAI64_H

#include <time.h>

#include <greenarrow/ga_mem.h>

GA_BEGIN

#define GA_TAI64N_LEN 25			/* '@' and its digits */
#define GA_TAI64N_ROOM (GA_TAI64N_LEN + 1)	/* and the NUL behind */

/* seconds + this: the label */
#define GA_TAI64_EPOCH UINT64_C(4611686018427387914)

/* The time of now as multilog stamps it: whole microseconds, and 500 ns. */
GA_EXPORT struct timespec ga_tai64n_now(void);
/* GA_TAI64N_LEN octets and a NUL; tv_nsec is in 0 .. 999999999.  Returns out. */
GA_EXPORT char *ga_tai64n_format(struct timespec, char out[GA_TAI64N_ROOM]);
/*
 * The stamp that s begins with: exactly 24 digits, less than a second of nanoseconds.
 * False: none; *at is unchanged.
 */
GA_EXPORT bool ga_tai64n_parse(struct ga_str s, struct timespec *at);
/*
 * What tai64nlocal takes for one: '@' and any number of digits, of which the last 8 are
 * nanoseconds (tv_nsec up to 2^32-1).  Returns the octets taken, '@' included; 0: s does
 * not begin with '@', *at is unchanged.
 */
GA_EXPORT size_t ga_tai64n_scan(struct ga_str s, struct timespec *at);

GA_END

#endif
