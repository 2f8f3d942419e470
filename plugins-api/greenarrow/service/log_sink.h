/*
 * log_sink.h - service "log_sink": log directories.  Level strict.
 *
 * A log directory is what multilog of daemontools keeps: `current`, and finished files
 * `@<TAI64N>.s` (`.u` after a crash), limited in size and number.  One thread writes them
 * all; whoever logs hands over a copy and goes on, whatever the disk does.
 *
 * Lines of one writer thread into one directory keep their order.  What cannot be
 * taken because the writer is too far behind is dropped, counted, and the count written
 * into that directory when there is room again, in a line that begins with a stamp also where
 * the others have none: "@... service_log: 12 lines were dropped here, ...".
 */
#ifndef GREENARROW_SERVICE_LOG_SINK_H
#define GREENARROW_SERVICE_LOG_SINK_H

#include <greenarrow/ga_conf.h>
#include <greenarrow/ga_module.h>

GA_BEGIN

#define GA_LOG_SINK_SERVICE "log_sink"
#define GA_LOG_SINK_VERSION 1

struct ga_log_dir;			/* one directory; until fini of its module */

enum ga_log_dir_flag {
	GA_LOG_UNSTAMPED = 1		/* lines as they are: they carry a time themselves */
};

struct ga_log_sink {
	uint32_t size, version;
	/*
	 * The directory `name` below log_directory, made when it is not there; the same
	 * object for everyone who names it.  name: 1 to 64 octets of [a-z0-9._-], the first
	 * no dot, else NULL.  Limits: what control/logconfig.multilog says under the name in
	 * capitals with _ for - and for dots, else the directives of service_log, else `defaults`
	 * (multilog's words, "s10485760 n123"; NULL: those of service_log; copied).  defaults and
	 * flags: those of the first call.  Any thread, not for each line: takes a lock.  From init on
	 * (look the service up in start or later).  Never waits for the disk.
	 */
	struct ga_log_dir *(*open)(struct ga_str name, unsigned flags, const char *defaults);
	/*
	 * One line, of `n` parts one after the other, without its LF; copied.  Stamped with the time
	 * of the call.  Octets that are LF or NUL become blanks; what is longer than 64 KiB or than
	 * the directory's size of a file is cut.  Any thread, up to stop; never blocks; takes no
	 * lock.  False: dropped, and counted.
	 */
	bool (*write)(struct ga_log_dir *, const struct ga_str *parts, size_t n);
	/*
	 * The line that each file of the directory begins with, without its LF and never stamped; copied.
	 * Empty: none.  A file that may have begun otherwise is ended, and the next line goes into another
	 * one.  Any thread, not for each line: takes a lock.
	 */
	void (*begin_with)(struct ga_log_dir *, struct ga_str line);
};

GA_END

#endif
