/*
 * smtp_log.h - what the files of smtp_log share.
 *
 *	smtp_log.c	the module: directives, hooks, life
 *	out.c		hooks of outgoing connections
 *	in.c		hooks of incoming sessions
 *	session.c	one session in a log: its lines, its cap
 *	scope.c		what the settings of a scope say, made ready
 *	limit.c		log_smtp_max_rate, and what it kept out
 *	text.c		pure: escaping, cutting, hex
 *	record.c	the flight recorder: the last lines of a session
 *
 * A session and what hangs on it belong to its loop, as do scopes.  Limits are shared by
 * the loops of an instance, the recorder's memory by the process: atomics.
 */
#ifndef SMTP_LOG_H
#define SMTP_LOG_H

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/greenarrow.h>

#include <pthread.h>
#include <stdatomic.h>

#include <uthash.h>

#include <greenarrow/conf.h>
#include <greenarrow/run.h>
#include <greenarrow/service/log_sink.h>

#define SLOG_OUT "general,ip_address,relay_server,domain"
#define SLOG_BOTH "general,smtp_service,ip_address,relay_server,domain"
#define SLOG_DIRECTIVES(X)								\
X(flag, log_smtp_connections, "no", "", SLOG_OUT,					\
    "log outgoing connections: opened, failed, encrypted, saved, used again, closed")	\
X(flag, log_smtp_commands, "no", "", SLOG_OUT,						\
    "the same, and commands and replies of outgoing sessions")				\
X(flag, log_smtp_hexdump, "no", "", SLOG_OUT,						\
    "log every octet of outgoing sessions, messages included")				\
X(flag, log_smtp_timings, "no", "", SLOG_OUT,						\
    "log how long each reply took")							\
X(flag, log_smtp_credentials, "no", "", SLOG_BOTH,					\
    "log credentials of AUTH as they are, not as [credentials]")			\
X(string, log_smtp_file, "", "is=log_directory", SLOG_BOTH,				\
    "log directory, below log_directory, for these sessions; default: rspawn-limiter, or that of the smtp_service") \
X(rate, log_smtp_max_rate, "0", "", SLOG_BOTH,						\
    "lines at most, of all sessions that have it from the same block; 0 = unlimited")	\
X(size, log_smtp_max_size, "0", "", SLOG_BOTH,						\
    "octets of log of one session at most, its connection events not counted; 0 = unlimited") \
X(flag, log_smtp_on_failure, "no", "", SLOG_OUT,					\
    "log the last lines of a session when an attempt in it is deferred or fails")	\
X(int, log_smtp_on_failure_lines, "50", "min=1 max=1000", SLOG_OUT,			\
    "how many lines")									\
X(size, log_smtp_on_failure_memory, "16MiB", "max=16GiB", "general",			\
    "memory for these lines, of all sessions")

GA_CONF_STRUCT(smtp_log_conf, SLOG_DIRECTIVES);

/* Octets of a line that are logged, before escaping; the rest is counted. */
#define SLOG_TEXT 1000u

/* --- text.c --- */
/* Cut to SLOG_TEXT, not within a character of UTF-8; *cut: octets left out. */
struct ga_str slog_cut(struct ga_str, size_t *cut);
/* Nothing in it has to be escaped: no control character, no backslash, ASCII or UTF-8. */
bool slog_is_clean(struct ga_str);
/* One row of a hexdump, up to SLOG_HEX_ROW octets: "00000010  48 65 ..  |He..|". */
#define SLOG_HEX_ROW 16u
#define SLOG_HEX_ROOM 96u
struct ga_str slog_hex_row(char room[SLOG_HEX_ROOM], uint64_t offset, struct ga_str octets);

/* --- limit.c --- */
struct slog_limit {
	struct slog_limit *next;
	const struct ga_object *block;		/* that has log_smtp_max_rate */
	bool incoming;
	const char *where;			/* file:line */
	struct ga_str text;			/* the value as written */
	struct ga_log_dir *dir;			/* where it is told what was left out */
	uint64_t gap_us;			/* between lines */
	_Atomic uint64_t next_us;		/* when the next line is due; behind now: saved up */
	_Atomic uint64_t lines, octets;		/* left out since it was told */
};
/* May a line of n octets be written?  Counts it when not. */
bool slog_limit_take(struct slog_limit *, size_t n);
/* Tells what was left out since it was told, if anything. */
void slog_limit_tell(struct slog_limit *, const struct ga_log_sink *);

/* --- scope.c --- */
struct slog_scope {
	const struct ga_settings *settings;	/* the key */
	const struct smtp_log_conf *conf;
	struct ga_log_dir *dir;			/* NULL: it cannot be */
	struct slog_limit *limit;		/* NULL: none */
	bool events, commands, hexdump, timings;	/* outgoing: what is logged */
	bool records;				/* outgoing: the recorder runs, */
	unsigned recorded_lines;		/* for so many */
	UT_hash_handle hh;
};

/* An instance: one configuration. */
struct slog_instance {
	pthread_mutex_t lock;			/* of limits */
	struct slog_limit *limits;
};

/* A loop of an instance. */
struct slog_loop {
	const struct ga_log_sink *sink;		/* NULL before start and after stop: nothing is logged */
	struct slog_instance *instance;
	struct slog_scope *scopes;
	struct ga_timer *timer;			/* tells what limits left out */
	bool armed;
};
/* The loop of a call; NULL: it has stopped. */
struct slog_loop *slog_loop(struct ga_call *);
struct slog_scope *slog_scope(struct slog_loop *, struct ga_call *);
void slog_scopes_free(struct slog_loop *);
/* What limits have left out, told once a second from the first on. */
void slog_arm(struct slog_loop *);

/* --- session.c --- */
struct slog_session {
	uint64_t id;				/* first, see slog_out */
	char prefix[48];			/* "remote_smtp: (12) " */
	size_t nprefix;
	uint64_t written;			/* octets of log, events not counted */
	uint64_t left_lines, left_octets;	/* beyond log_smtp_max_size */
};
void slog_session_begin(struct slog_session *, const char *who, uint64_t id);
struct slog_text {
	char mark;
	struct ga_str when;			/* between mark and text; may be empty */
	struct ga_str text;			/* as it came; escaped and cut when written */
	size_t beyond;				/* octets that were cut already */
};
/* "WHO: (ID) MARK TEXT" */
void slog_line(struct slog_session *, const struct slog_scope *, struct ga_call *,
    const struct slog_text *);
/* The same of a mark and a text alone. */
void slog_put(struct slog_session *, const struct slog_scope *, struct ga_call *, char mark,
    struct ga_str text);
/* What log_smtp_max_size left out, if anything. */
void slog_session_end(struct slog_session *, const struct slog_scope *, struct ga_call *);
/* "192.0.2.1:25", "[2001:db8::1]:25"; "-" when there is none. */
#define SLOG_ADDRESS 96u
const char *slog_address(char room[SLOG_ADDRESS], const struct ga_addr *);

/* --- record.c --- */
struct slog_half {
	char *p;
	uint32_t room, end;
	unsigned lines;
};
struct slog_record {
	struct slog_half half[2];
	unsigned newer;				/* the half that is written to */
	bool short_of;				/* memory: lines were not kept */
};
struct slog_recorded { uint64_t id, at_ms; char mark; struct ga_str text; };
typedef void slog_recorded_fn(const struct slog_recorded *, void *arg);
void slog_record_memory(uint64_t limit);
uint64_t slog_record_used(void);
/* Keeps a copy, and with it the last `most` lines at least.  Of its text SLOG_TEXT octets are kept. */
void slog_record_add(struct slog_record *, unsigned most, const struct slog_recorded *);
/* How many of the last `most` lines there are; each, oldest first.  Their text is the record's. */
unsigned slog_record_lines(const struct slog_record *, unsigned most);
void slog_record_each(const struct slog_record *, unsigned most, uint64_t now_ms, slog_recorded_fn *, void *arg);
void slog_record_clear(struct slog_record *);	/* keeps its memory */
void slog_record_free(struct slog_record *);

/* --- out.c --- */
/* Of a connection. */
struct slog_out {
	/* what the recorder needs for a line comes first and fills two lines of the caches */
	const struct slog_scope *scope;
	struct slog_record record;
	struct slog_session s;
	uint64_t asked_us;			/* when what is answered next was said */
	uint64_t hex_sent, hex_heard;		/* octets in hexdumps so far */
};
void slog_out_opened(struct ga_call *, const struct ga_ev_connection *);
void slog_out_failed(struct ga_call *, const struct ga_ev_connection *);
void slog_out_tls(struct ga_call *, const struct ga_ev_connection *);
void slog_out_saved(struct ga_call *, const struct ga_ev_connection *);
void slog_out_reused(struct ga_call *, const struct ga_ev_connection *);
void slog_out_closed(struct ga_call *, const struct ga_ev_connection *);
void slog_out_line(struct ga_call *, const struct ga_ev_line *);
void slog_out_bytes(struct ga_call *, const struct ga_ev_bytes *);
void slog_out_attempt(struct ga_call *, const struct ga_ev_attempt *);
void slog_out_end(struct ga_inst *, void *state);
bool slog_out_wants(const struct smtp_log_conf *, const char *hook);

/* --- in.c --- */
/* Of a session. */
struct slog_in {
	struct slog_session s;
	const struct slog_scope *scope;		/* NULL: not decided yet */
	bool content;
	struct ga_addr peer, local;
	struct ga_str tls;			/* said before it was decided */
	/* the line of a message that is being put together */
	char *line;				/* SLOG_TEXT octets; made when needed */
	size_t n, beyond;
	bool open;				/* it has begun */
};
enum ga_verdict slog_in_connect(struct ga_call *, const struct ga_ev_connect *);
void slog_in_tls(struct ga_call *, const struct ga_ev_tls *);
void slog_in_line(struct ga_call *, const struct ga_ev_line *);
void slog_in_bytes(struct ga_call *, const struct ga_ev_bytes *);
void slog_in_disconnect(struct ga_call *, const struct ga_ev_disconnect *);

#endif
