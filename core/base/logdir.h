/*
 * logdir.h - read a log directory in the order of time, while a daemon writes it
 *
 * A log directory is what multilog keeps: `current`, and finished files `@<TAI64N>.s` or `.u`, named
 * by the time they were finished.  A reader sees what was there when it was opened: a rotation
 * meanwhile neither loses a line nor brings one twice.  What `current` gets before its end is reached is read too;
 * its last line only when its LF is there.
 *
 * A reader belongs to one thread.  It blocks (on the disk), so it is for tools, never for a loop.
 */
#ifndef GAC_BASE_LOGDIR_H
#define GAC_BASE_LOGDIR_H

#include <greenarrow/ga_mem.h>

/* A line may stand this much earlier or later than its time says: loops and threads hand in
 * lines side by side. */
#define GAC_LOG_DISORDER_S 5
/* Longer lines come in pieces of this size. */
#define GAC_LOG_LINE_MAX (1024 * 1024)

/* Nanoseconds since 1970, both included; INT64_MIN and INT64_MAX: open. */
struct gac_log_window {
	int64_t start_ns, end_ns;
};

struct gac_log_line {
	struct ga_str text;	/* without its LF; the reader's, until its next call */
	int64_t at_ns;		/* its time, or that of the line which it belongs to */
	bool timed;		/* it has a time of its own */
	bool ends;		/* false: a piece, the line goes on with the next one */
};

struct gac_logdir;

/* Something could not be read, and is left out: "/var/.../@4000....s", "vanished". */
typedef void gac_log_warn_fn(void *arg, const char *path, const char *problem);

/* NULL: the directory cannot be read, errno says why.  warn is called from gac_logdir_open() and
 * gac_logdir_line(). */
struct gac_logdir *gac_logdir_open(const char *path, const struct gac_log_window *, gac_log_warn_fn *warn,
    void *arg) GA_NODISCARD;
void gac_logdir_close(struct gac_logdir *);

/*
 * The next line of the window; false: that was all.  A line without a time (gac_log_time()) belongs to
 * the one before, and without one before to the window only when that has no start.
 * Files are chosen by their names, large ones searched by halves, and reading ends some lines behind the window, so a
 * window costs what is in it.  Memory: GAC_LOG_LINE_MAX, whatever the size of the directory.
 */
bool gac_logdir_line(struct gac_logdir *, struct gac_log_line *);

/* Of what was read, in the window or not: lines without a time. */
size_t gac_logdir_untimed(const struct gac_logdir *);

#endif
