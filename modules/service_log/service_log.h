/*
 * service_log.h - what the files of this module share.
 *
 * A directory (struct ga_log_dir) has two sides.  Anyone hands lines to its inbox (inbox.c), found by name in
 * dirs.c; the writer thread (writer.c) takes them out and puts them into files (store.c).  Between the two
 * there are atomics and nothing else.
 */
#ifndef SERVICE_LOG_H
#define SERVICE_LOG_H

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/greenarrow.h>

#include <stdatomic.h>

#include <greenarrow/service/log_sink.h>
#include <greenarrow/tai64.h>

#define SERVICE_LOG_DIRECTIVES(X)							\
X(path, service_log_limits_file, "logconfig.multilog", "", "general",			\
    "the file with limits of single log directories; it need not be there")		\
X(size, service_log_max_size, "0", "max=2147483647", "general",				\
    "octets of a log file, 4096 or more; 0: what the directory's user asks for, else 10 MiB")	\
X(int, service_log_max_files, "0", "min=0 max=1000000", "general",			\
    "files of a log directory, 2 or more; 0: what the directory's user asks for, else 10") \
X(size, service_log_memory, "16MiB", "min=64KiB max=1GiB", "general",			\
    "memory for the lines that wait for one directory; what is over it is dropped and counted") \
X(duration, service_log_status, "5s", "", "general",					\
    "how often rspawn-limiter gets the lines that say how delivery goes; 0: never")

GA_CONF_STRUCT(service_log_conf, SERVICE_LOG_DIRECTIVES);

#define SLOG_LINE_MAX 65536u		/* octets, stamp and LF included */
#define SLOG_NAME_MAX 64u		/* octets of a directory's name */

/* --- limits: limits.c --- */

/* 0: not said. */
struct slog_limits {
	uint32_t size;			/* octets of a file, SLOG_SIZE_MIN or more */
	uint32_t files;			/* finished ones and `current`, SLOG_FILES_MIN or more */
};
#define SLOG_SIZE_MIN 4096u		/* multilog's own bounds */
#define SLOG_SIZE_MAX 2147483647u
#define SLOG_FILES_MIN 2u
#define SLOG_FILES_MAX 1000000u

/* multilog's words, "s10485760 n123".  NULL: fine; else what is wrong, and *bad the word. */
const char *slog_limits_words(struct ga_str words, struct slog_limits *, struct ga_str *bad);
/* A whole control/logconfig.multilog.  Later lines win. */
struct slog_limits_table {
	struct slog_limits_row { char *name; struct slog_limits limits; } *row;
	size_t n;
};
/* False: there are errors; each is told to diag, unless that is NULL.  A file that is not there
 * is an empty one. */
bool slog_limits_read(const char *path, struct slog_limits_table *, struct ga_diag *diag);
void slog_limits_free(struct slog_limits_table *);
/* Of the directory `name`; zeros: the table does not have it. */
struct slog_limits slog_limits_of(const struct slog_limits_table *, const char *name);

/* --- what waits: inbox.c --- */

struct slog_line {
	struct slog_line *next;
	uint32_t n;
	char text[];			/* n octets, stamp and LF included */
};

struct slog_inbox {
	_Atomic(struct slog_line *) newest;
	_Atomic size_t waiting;		/* octets of memory, until they are written */
	_Atomic uint64_t dropped;	/* lines, not yet told */
	_Atomic uint64_t dropped_total;
};

/* Any thread.  longest: octets of a line.  False: there was no room (limit: octets), and it
 * is counted. */
bool slog_inbox_put(struct slog_inbox *, size_t limit, bool stamped, size_t longest,
    const struct ga_str *parts, size_t n);
/* The writer thread: a line of its own, for which there always is room; not put into the inbox. */
struct slog_line *slog_inbox_own(struct slog_inbox *, bool stamped, struct ga_str text);
/* The writer thread: all that is there, oldest first; NULL: none. */
struct slog_line *slog_inbox_take(struct slog_inbox *);
/* The writer thread: a line that was taken is no longer needed. */
void slog_inbox_done(struct slog_inbox *, struct slog_line *);

/* --- files: store.c --- */

/*
 * A directory on disk.  Only the writer thread touches it.  What it does next is `step`: whatever
 * fails is tried again from there.
 */
struct slog_store {
	const char *name;		/* below log_directory */
	enum slog_step {
		SLOG_OPEN, SLOG_LOCK, SLOG_RESUME, SLOG_LEFTOVERS, SLOG_NEW,	/* to have a `current` */
		SLOG_WRITE,							/* there is one */
		SLOG_SYNC, SLOG_RENAME, SLOG_REPLACE, SLOG_FINISH, SLOG_PRUNE	/* to have another one */
	} step;
	int dir, lock, current;		/* descriptors; -1: none */
	uint64_t octets;		/* in current */
	struct slog_limits limits;	/* in force */
	const char *failed;		/* the operation that did, and errno */
	int error;
	_Atomic uint64_t rotations;
};

void slog_store_init(struct slog_store *, const char *name);
/* Does what is due until there is a `current` with room: true.  False: failed, error. */
bool slog_store_ready(struct slog_store *);
/* Whether a line of so many octets may follow `before` others in `current`: if it fits, or is
 * the first. */
bool slog_store_fits(const struct slog_store *, uint64_t before, uint64_t octets);
/* True when what will have been written is enough, and the next line goes into another file. */
bool slog_store_full(const struct slog_store *, uint64_t octets);
struct iovec;
/* The next line goes into another file. */
void slog_store_rotate(struct slog_store *);
/* writev to `current`.  Returns the octets written, which may be fewer; 0: failed, error. */
size_t slog_store_write(struct slog_store *, const struct iovec *, int n);
/* Ends `current` cleanly, without its last `torn` octets, and gives the directory back. */
void slog_store_close(struct slog_store *, uint64_t torn);

/* --- directories: dirs.c --- */

/* What files begin with; kept, also when another one takes its place, as long as the directory. */
struct slog_head {
	struct slog_head *older;
	size_t n;
	char text[];
};

struct ga_log_dir {
	_Atomic(struct ga_log_dir *) next;
	_Atomic(struct slog_head *) head;	/* NULL: files begin with any line */
	struct slog_head *heads;		/* all that there were; behind the lock of dirs.c */
	char name[SLOG_NAME_MAX + 1];
	unsigned flags;
	struct slog_limits defaults;		/* what its first user asked for */
	_Atomic uint32_t size, files;		/* limits in force */
	struct slog_inbox in;
	_Atomic uint64_t lines, octets;		/* written */
	_Atomic(const char *) trouble;		/* NULL: none */
	/* the writer thread's */
	struct slog_store store;
	struct slog_line *first, **last;	/* taken, and not written yet */
	size_t begun;				/* octets of the first that are written */
	const struct slog_head *headed;		/* of `current` */
	bool head_waits;			/* it is the first line, and not written yet */
	uint64_t retry_us;			/* ga_mono_us(); 0: no trouble */
};

/* Service log_sink: see log_sink.h for `open` and `write`. */
struct ga_log_dir *slog_dir_open(struct ga_str name, unsigned flags, const char *defaults);
bool slog_dir_write(struct ga_log_dir *, const struct ga_str *parts, size_t n);
void slog_dir_begin_with(struct ga_log_dir *, struct ga_str line);
/* Limits of all directories anew, and of those to come; memory: octets of lines that may wait
 * for one.  The table is theirs from here on.  Main thread. */
void slog_dirs_limit(struct slog_limits general, struct slog_limits_table *, size_t memory);
/* Each directory, in the order in which they were opened.  Any thread. */
struct ga_log_dir *slog_dirs_first(void);
struct ga_log_dir *slog_dirs_next(const struct ga_log_dir *);
/* Nobody uses them any more. */
void slog_dirs_free(void);

/* --- the thread: writer.c --- */

/* One in a process; inst is for its log lines.  A directory in trouble is tried again after
 * retry_ms.  False: no thread, errno. */
bool slog_writer_start(struct ga_inst *inst, unsigned retry_ms);
/* There is something for it.  Any thread, costs nothing while it is awake. */
void slog_writer_wake(void);
/* Writes what waits and ends every file cleanly.  False: the disk did not let it within some
 * seconds, and it still uses the directories. */
bool slog_writer_stop(void);

/* --- lines about delivery: status_lines.c --- */

/* Main thread, in init. */
void slog_status_init(struct ga_inst *);
/* Every ms milliseconds from now on; 0: no longer.  Main loop. */
void slog_status_every(uint64_t ms);

#endif
