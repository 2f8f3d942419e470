/*
 * tai64.c - TAI64N stamps: written, and read back.
 *
 * Implements tai64.h.  Pure functions, any thread.  Seconds wrap as unsigned numbers do in
 * djb's tools, so that a label before 1970 or without digits gives what tai64nlocal gives.
 */
#include "config.h"

#include <greenarrow/tai64.h>

#define DIGITS_SECONDS 16
#define DIGITS_NANO 8

struct timespec
ga_tai64n_now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_nsec = at.tv_nsec / 1000 * 1000 + 500;
	return at;
}

static void
put_hex(char *out, unsigned digits, uint64_t value)
{
	for (; digits-- > 0; value >>= 4)
		out[digits] = "0123456789abcdef"[value & 15];
}

char *
ga_tai64n_format(struct timespec at, char out[GA_TAI64N_ROOM])
{
	out[0] = '@';
	put_hex(out + 1, DIGITS_SECONDS, (uint64_t)at.tv_sec + GA_TAI64_EPOCH);
	put_hex(out + 1 + DIGITS_SECONDS, DIGITS_NANO, (uint64_t)at.tv_nsec);
	out[GA_TAI64N_LEN] = '\0';
	return out;
}

/* -1: not a digit of a stamp; they are lower case. */
static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t
ga_tai64n_scan(struct ga_str s, struct timespec *at)
{
	uint64_t seconds = 0;
	uint32_t nano = 0;
	size_t i;
	int d;

	if (s.n == 0 || s.p[0] != '@')
		return 0;
	for (i = 1; i < s.n && (d = digit(s.p[i])) >= 0; i++) {
		seconds = seconds << 4 | nano >> 28;
		nano = nano << 4 | (uint32_t)d;
	}
	at->tv_sec = (time_t)(seconds - GA_TAI64_EPOCH);
	at->tv_nsec = (long)nano;
	return i;
}

bool
ga_tai64n_parse(struct ga_str s, struct timespec *at)
{
	struct timespec read;

	if (s.n < GA_TAI64N_LEN || (s.n > GA_TAI64N_LEN && digit(s.p[GA_TAI64N_LEN]) >= 0))
		return false;
	if (ga_tai64n_scan((struct ga_str){ s.p, GA_TAI64N_LEN }, &read) != GA_TAI64N_LEN ||
	    read.tv_nsec >= 1000000000)
		return false;
	*at = read;
	return true;
}
