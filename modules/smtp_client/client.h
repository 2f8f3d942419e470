/*
 * client.h - what the files of smtp_client share: directives, connections,
 * transactions, the state of a loop.
 *
 *	smtp_client.c	the module: directives, services, drain and stop
 *	connect.c	from a batch to a connected stream
 *	targets.c	which hosts and addresses, in which order
 *	conn.c		a connection: stream, timer, states, its end
 *	tell.c		what modules are told of it: lines, octets, its life
 *	session.c	TLS, greeting, EHLO, HELO, STARTTLS, QUIT
 *	auth.c		AUTH
 *	transaction.c	MAIL to the reply after the dot
 *	prepare.c	what must be known before MAIL: the message read, hooks asked
 *	body.c		the octets of the message, from memory or the spool
 *	result.c	ending tickets: the spool's DONE, counters
 *	attempt.c	what modules are asked and told of an attempt that ends
 *	phase.c		what its time went to
 *	saved.c		connections that wait for another transaction
 *	connections.c	`connections` of the control socket
 *	explain.c	who uses the connections of a group
 *	walk.c		commands that go from loop to loop
 *	close.c		`close_connection` of the control socket
 *	report.c	names of states, status
 *	stuff.c wire.c	pure: dot-stuffing; replies and commands as text
 *
 * A connection and all that hangs on it belong to the loop of its throttle group.
 */
#ifndef SMTP_CLIENT_CLIENT_H
#define SMTP_CLIENT_CLIENT_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <greenarrow/greenarrow.h>
#include <greenarrow/mail.h>
#include <greenarrow/run.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/spool.h>
#include <greenarrow/service/transport.h>

#include "stuff.h"
#include "wire.h"

#define SMTPC_WHERE "general,ip_address,relay_server,domain"

#define SMTPC_DIRECTIVES(X)							\
X(flag, starttls_use, "yes", "", SMTPC_WHERE,					\
    "encrypt with STARTTLS where it is offered; a failed handshake is tried again in clear") \
X(flag, starttls_require, "no", "", SMTPC_WHERE,				\
    "deliver only over TLS; defer where it is not offered or fails")		\
X(string, destination_username, "", "max=1000", "relay_server,domain",		\
    "user name for AUTH at the destination")						\
X(secret, destination_password, "", "max=1000", "relay_server,domain",		\
    "password for AUTH at the destination")						\
X(flag, destination_auth_cleartext, "no", "", "relay_server,domain",			\
    "send user name and password also without TLS")					\
X(flag, reuse_connections, "no", "", SMTPC_WHERE,				\
    "keep a connection open for further messages")				\
X(int, reuse_connections_max_messages, "5", "min=1 max=1000000", SMTPC_WHERE,	\
    "transactions on one connection")						\
X(duration, reuse_connections_timeout, "30s", "min=1s max=1h", SMTPC_WHERE,	\
    "how long a connection without work stays open")				\
X(int, max_recipients_per_delivery, "100", "min=1 max=1000", SMTPC_WHERE,	\
    "recipients of one message in one transaction")				\
X(int, max_connect_attempts, "5", "min=1 max=20", SMTPC_WHERE,			\
    "addresses tried in one delivery attempt")					\
X(flag, tls_verify, "no", "", SMTPC_WHERE,						\
    "deliver only over TLS with a valid certificate of the host's name; defer otherwise") \
X(flag, smtp_chunking, "yes", "", SMTPC_WHERE,					\
    "send messages by BDAT where CHUNKING is offered (RFC 3030), else by DATA")		\
X(choice, smtp_8bit_unoffered, "send", "oneof=send|fail", SMTPC_WHERE,		\
    "8-bit mail for a server without 8BITMIME: send it as it is, or fail it with 5.6.3") \
X(duration, smtp_connect_timeout, "30s", "min=1s max=1h", SMTPC_WHERE,		\
    "limit for a TCP connection")						\
X(duration, smtp_greeting_timeout, "5m", "min=1s max=1h", SMTPC_WHERE,		\
    "limit for the greeting (RFC 5321 4.5.3.2.1)")				\
X(duration, smtp_tls_timeout, "1m", "min=1s max=1h", SMTPC_WHERE,		\
    "limit for a TLS handshake")						\
X(duration, smtp_command_timeout, "5m", "min=1s max=1h", SMTPC_WHERE,		\
    "limit for the reply to EHLO, STARTTLS, MAIL, RCPT, RSET")			\
X(duration, smtp_data_timeout, "2m", "min=1s max=1h", SMTPC_WHERE,		\
    "limit for the reply to DATA (4.5.3.2.4)")					\
X(duration, smtp_data_block_timeout, "3m", "min=1s max=1h", SMTPC_WHERE,	\
    "limit for the receiver to take the next piece of the message (4.5.3.2.5)")	\
X(duration, smtp_dot_timeout, "10m", "min=1s max=2h", SMTPC_WHERE,		\
    "limit for the reply after the message (4.5.3.2.6); shorter ones make duplicates") \
X(duration, smtp_quit_timeout, "5s", "min=100ms max=5m", SMTPC_WHERE,		\
    "limit for the reply to QUIT; no result waits for it")

GA_CONF_STRUCT(smtpc_conf, SMTPC_DIRECTIVES);
enum { SMTPC_8BIT_SEND, SMTPC_8BIT_FAIL };

/* In the order in which a connection without trouble goes through them. */
enum smtpc_state {
	SMTPC_CONNECTING,
	SMTPC_SMTPS,		/* TLS before the greeting: port 465 */
	SMTPC_GREETING,
	SMTPC_EHLO,
	SMTPC_HELO,
	SMTPC_STARTTLS_CMD,
	SMTPC_HANDSHAKE,
	SMTPC_AUTH,
	SMTPC_PREPARE,		/* ready, but the message is not: read, hooks */
	SMTPC_RSET,
	SMTPC_MAIL,		/* from here: the oldest command without a reply */
	SMTPC_RCPT,
	SMTPC_DATA,
	SMTPC_BODY,
	SMTPC_HELD,		/* all sent but the dot: the last DONE is not durable */
	SMTPC_DOT,
	SMTPC_SAVED,
	SMTPC_QUIT,
	SMTPC_CLOSED,
	SMTPC_STATES
};

struct smtpc_conn;

/* The octets of one message on their way out; see body.c. */
#define SMTPC_IOVS 32
#define SMTPC_PIECE (128u * 1024)
struct smtpc_body {
	struct ga_body *whole;		/* all in memory: the overlay's or the message's */
	const struct ga_body_chunk *chunk;	/* being sent, */
	size_t at;			/* from here */
	uint64_t size;			/* octets of the message */
	/* from the spool: one piece is sent while the next is read */
	bool pieces;
	bool reading;			/* the spool has `read`, */
	bool waits;			/* and nothing else is left to send */
	struct ga_body *piece, *ahead;
	uint64_t offset;		/* of the next read */
	struct ga_spool_read_body read;
	int error;
	/* what goes out */
	struct smtpc_stuff stuff;
	struct iovec iov[SMTPC_IOVS];
	int niov, iov_at;
	/* BDAT: all octets but the last, which takes the place of the dot */
	bool chunking, begun;
	char head[40];			/* the command, until begun */
	char tail;
	uint64_t planned;		/* octets of the message in iov so far */
	bool planned_all;		/* chunks are planned to the end, */
	bool planned_end;		/* and so is the dot */
};

/* What one transaction is about.  Embedded in its connection; first NULL: none. */
struct smtpc_txn {
	struct ga_ticket *first;	/* by next; result NONE = not refused so far */
	unsigned n;
	struct ga_ticket *cur;		/* whose RCPT reply comes next */
	struct ga_ticket *refused;	/* those that were not even asked for */
	unsigned nrefused;
	unsigned accepted;		/* RCPTs answered 2yz that have no result yet */
	unsigned rcpt_ok;		/* RCPTs answered 2yz, also after a refused MAIL */
	bool ready;			/* prepared: MAIL may be sent */
	bool dsn;			/* told what is to be reported: the host does it */
	bool verified_only;		/* REQUIRETLS */
	bool chunking;			/* by BDAT */
	bool grouped;			/* all commands were sent as one */
	bool utf8;			/* an address needs SMTPUTF8, and it is offered */
	bool dot_sent;			/* of a message that somebody gets */
	bool loading;			/* the spool has `read` */
	struct ga_message *message;	/* of a ticket, or loaded (then one reference) */
	bool loaded;
	struct ga_spool_read read;
	struct ga_content *content;	/* hook `outgoing`: the overlay */
	struct ga_run run;
	struct ga_ev_outgoing event;
	bool asked;
	struct smtpc_body body;
	uint64_t begun_ms;		/* the batch was taken, */
	uint64_t sent_ms;		/* its commands were sent as one */
};

/* One address to try: indices in the route. */
struct smtpc_target { uint16_t host, address; };
#define SMTPC_TARGETS 20

struct smtpc_conn {
	uint32_t magic;			/* SMTPC_CONN_MAGIC */
	uint32_t refs;			/* the slot, each DONE and each read under way */
	LIST_ENTRY(smtpc_conn) object;
	TAILQ_ENTRY(smtpc_conn) all;
	TAILQ_ENTRY(smtpc_conn) saved, saved_all;
	struct smtpc_loop *loop;
	struct ga_group *group;
	struct ga_route *route;		/* of the last batch; one reference */
	const struct smtpc_conf *conf;	/* of the route */
	const struct ga_plan *plan;

	uint64_t id;			/* from 1 at start, a new one each connecting */
	enum smtpc_state state;
	uint64_t state_ms;		/* when it was entered, */
	uint64_t command_ms;		/* when the command shown for it began */
	uint64_t start_wall_ns, start_ms, connected_ms;
	uint32_t phase_ms[GA_PHASES];	/* of the attempt, GA_NO_TIME where there is none, */
	uint64_t phase_since_ms;	/* and what goes on is counted from here, */
	bool phase_over;		/* unless the state is still that of the attempt before */
	unsigned done, max;		/* transactions */
	char initial_domain[256], mx[256];
	struct ga_sockaddr remote, local;
	bool v6;			/* which source of the route it uses */

	struct smtpc_target targets[SMTPC_TARGETS];
	unsigned ntargets, target;
	const struct ga_transport *transport;
	struct ga_transport_open *opening;
	struct ga_stream *stream;

	struct ga_timer *timer;
	uint64_t deadline_ms;		/* 0 = none */
	uint64_t armed_ms;		/* when the timer fires; it may be early */

	struct smtpc_offer offer;
	bool tls, no_tls;		/* no_tls: a handshake failed, once more in clear */
	bool verified;			/* a certificate of the host's name was shown */
	bool authenticated;
	unsigned auth_step;		/* challenges answered */
	bool reused;			/* not its first transaction, MAIL not answered yet */
	bool needs_rset;
	bool broken;			/* the session cannot go on after this transaction */
	bool no_more;			/* an operator wants no transaction after this one */
	unsigned rcpt_limit;		/* learnt from LIMITS or 452 4.5.3; 0 = not yet */
	unsigned undurable;		/* DONEs given to the spool and not answered */

	struct ga_connection kept;	/* by modules */
	struct smtpc_txn txn;
	struct ga_ticket *carry;	/* of the same batch, for the next transaction */
	unsigned ncarry;

	struct smtpc_out out;
	unsigned wanted;		/* events asked of the stream */
	bool write_failed;		/* what the peer said before is still to be read */
	bool preparing;			/* inside smtpc_prepare(): its caller goes on */
	bool given_up;			/* all hosts failed; the message is still being read */
	struct ga_reply_parser reply;
	struct ga_post later;		/* what may not be done inside a call */
	bool posted;			/* it is on its way */
	char why[1000];			/* last reason a host was given up: text, */
	char why_enhanced[12];
	unsigned why_code;		/* and the reply it was, 0 = none */
	bool why_network;
	enum ga_attempt_stage why_stage;
};
#define SMTPC_CONN_MAGIC 0x534d5443u

/* One DONE on its way through the spool; or an UPDATE, when the sender is to be told. */
struct smtpc_done {
	struct ga_spool_done done;
	struct ga_spool_update update;
	struct ga_attrs attrs;		/* of update */
	struct ga_ticket *ticket;
	struct smtpc_conn *conn;	/* one reference */
	LIST_ENTRY(smtpc_done) link;	/* those out, or those free */
};

#define SMTPC_SAVED_BUCKETS 512
#define SMTPC_SCRATCH 16384
TAILQ_HEAD(smtpc_conns, smtpc_conn);
/* A place in a loop's list that is kept from turn to turn. */
struct smtpc_cursor {
	LIST_ENTRY(smtpc_cursor) link;
	struct smtpc_conn *next;
};

/* State of one loop (ga_worker_state). */
struct smtpc_loop {
	struct ga_worker *worker;
	LIST_HEAD(, smtpc_conn) objects;	/* every one that has a reference */
	struct smtpc_conns all;		/* those open, by id, more or less */
	LIST_HEAD(, smtpc_cursor) cursors;	/* in all */
	struct smtpc_conns saved_all;	/* oldest first */
	struct smtpc_conns saved[SMTPC_SAVED_BUCKETS];	/* by group */
	unsigned open;			/* connections in all */
	_Atomic uint32_t in_state[SMTPC_STATES];	/* of these; any thread reads them */
	struct smtpc_conn *free_conns;	/* chained by all.tqe_next */
	unsigned nfree;
	LIST_HEAD(smtpc_dones, smtpc_done) dones, free_dones;
	char *scratch;			/* SMTPC_SCRATCH octets to read into */
	bool draining;
	struct ga_hold *hold;
	struct ga_timer *drain_timer;
};

/* The module: one instance, one set of counters. */
struct smtpc_module {
	struct ga_inst *inst;
	const struct ga_spool *spool;
	const struct ga_throttle *throttle;
	atomic_uint_fast64_t next_id;
	/* gauges and totals for any thread */
	atomic_uint_fast64_t connections, saved, connecting;
	atomic_uint_fast64_t opened, transactions, recipients;
	atomic_uint_fast64_t successes, deferrals, failures;
};
extern struct smtpc_module smtpc;

static inline void
smtpc_count(atomic_uint_fast64_t *c, int64_t by)
{
	atomic_fetch_add_explicit(c, (uint64_t)by, memory_order_relaxed);
}

/* --- connect.c --- */
void smtpc_conn_open(struct smtpc_loop *, struct ga_group *, struct ga_batch);
/* Begin anew with the same tickets, without penalty. */
void smtpc_conn_again(struct smtpc_conn *, const char *why, bool abort);
/* Connect to the same address again, in clear: TLS failed. */
void smtpc_conn_retry_clear(struct smtpc_conn *, const char *err);
/* Try targets[target], or give up when there is none. */
void smtpc_connect_next(struct smtpc_conn *);
void smtpc_drop_stream(struct smtpc_conn *, const char *reason, bool abort);
void smtpc_set_route(struct smtpc_conn *, struct ga_route *);
const struct ga_route_source *smtpc_source(const struct smtpc_conn *);
/* The transport for this route: the one loaded last that serves it.  NULL: none. */
const struct ga_transport *smtpc_transport(const struct ga_route *);

/* --- conn.c --- */
struct smtpc_conn *smtpc_conn_new(struct smtpc_loop *);
struct smtpc_conn *smtpc_conn_ref(struct smtpc_conn *);
void smtpc_conn_unref(struct smtpc_conn *);
/* The loop ends: nothing of it is called any more; */
void smtpc_conns_stop(struct smtpc_loop *);
/* all loops and the spool's threads have: what others held is freed. */
void smtpc_conns_end(struct smtpc_loop *);
void smtpc_enter(struct smtpc_conn *, enum smtpc_state);
/* How far an attempt has come that ends in this state: the question without an answer. */
enum ga_attempt_stage smtpc_stage(const struct smtpc_conn *);
/* The same, and the command shown goes on: it began then. */
void smtpc_enter_since(struct smtpc_conn *, enum smtpc_state, uint64_t command_ms);
/* The reply, the write or the wait that is under way must end within ms; 0: no limit. */
void smtpc_deadline(struct smtpc_conn *, uint64_t ms);
/* Send what is in out; the rest goes when the stream takes it. */
void smtpc_flush(struct smtpc_conn *);
void smtpc_want_read(struct smtpc_conn *);
/* The stream took nothing more: come back when it does. */
void smtpc_want_write(struct smtpc_conn *);
void smtpc_write_failed(struct smtpc_conn *, int error);
ga_stream_fn smtpc_stream_ready;
ga_stream_tls_fn smtpc_stream_tls_done;

#define SMTPC_NO_TLS "4.7.4"	/* STARTTLS is needed and not offered */
struct smtpc_verdict;
/* Remember why a host was given up. */
void smtpc_reason(struct smtpc_conn *, const struct smtpc_verdict *);
/* A host is given up: the next one is tried, or all tickets are deferred with
 * that reason.  Not after the first reply to MAIL. */
void smtpc_host_failed(struct smtpc_conn *, const struct smtpc_verdict *);
/* The connection is of no more use, in whatever state it is: another host where
 * that is right, else what has no result is deferred. */
void smtpc_conn_failed(struct smtpc_conn *, const struct smtpc_verdict *);
/* The same, said in words: it broke, timed out, or talks nonsense. */
void smtpc_conn_lost(struct smtpc_conn *, const char *enhanced, bool network,
    const char *fmt, ...) GA_PRINTF(4, 5);
/* All hosts failed, or there is none: the tickets are deferred with the last reason. */
void smtpc_give_up(struct smtpc_conn *);
void smtpc_give_up_later(struct smtpc_conn *);
/* The time is over: tickets are recalled, or deferred when their dot is out. */
void smtpc_conn_abort(struct smtpc_conn *);
/* Gone: stream, slot and all.  No tickets may be left.  reason: for logs. */
void smtpc_conn_close(struct smtpc_conn *, const char *reason, bool abort);
/* Choose the next batch in another turn of the loop, not in this call. */
void smtpc_next_later(struct smtpc_conn *);
/* Cut to room, with a NUL. */
void smtpc_copy(char *to, size_t room, struct ga_str);
char *smtpc_strdup(struct ga_str);	/* to be freed */

/* --- tell.c --- */
/* One event for each line of p. */
void smtpc_line(struct smtpc_conn *, enum ga_line, const char *p, size_t n);
/* One line with credentials in it: as everybody may see it, and as it is. */
void smtpc_line_secret(struct smtpc_conn *, struct ga_str shown, struct ga_str secret);
/* Octets that the stream has taken or given. */
void smtpc_octets(struct smtpc_conn *, enum ga_line, bool content, struct ga_str);
/* Octets [from, to) of out, which the stream has taken. */
void smtpc_tell_sent(struct smtpc_conn *, size_t from, size_t to);
/* A handshake ended; err NULL: well. */
void smtpc_tell_tls(struct smtpc_conn *, const char *err);
void smtpc_tell_connection(struct smtpc_conn *, enum ga_hook_id, const char *reason);
struct ga_addr smtpc_addr(const struct ga_sockaddr *, char buf[GA_SOCKADDR_TEXT]);

/* --- smtp_client.c --- */
/* A connection of this loop, and all that held it, is gone: a drain may be over. */
void smtpc_drain_check(struct smtpc_loop *);
struct smtpc_loop *smtpc_loop(struct ga_worker *);

/* --- targets.c --- */
/* Up to max addresses of the route in the order to try them; how many. */
unsigned smtpc_targets(const struct ga_route *, unsigned max, struct smtpc_target *);

/* --- session.c --- */
/* TLS with a certificate of the host's name, or nothing. */
bool smtpc_verify(const struct smtpc_conn *);
void smtpc_session_begin(struct smtpc_conn *);
/* One complete reply is in c->reply. rest: octets that came behind it. */
void smtpc_session_reply(struct smtpc_conn *, size_t rest);
void smtpc_session_tls_done(struct smtpc_conn *, const char *err);
/* EHLO is done, or the connection was reused: the transaction may begin. */
void smtpc_session_ready(struct smtpc_conn *);
void smtpc_session_quit(struct smtpc_conn *, const char *reason);

/* --- auth.c --- */
bool smtpc_auth_wanted(const struct smtpc_conn *);
const char *smtpc_auth_obstacle(const struct smtpc_conn *);
void smtpc_auth_begin(struct smtpc_conn *);
bool smtpc_auth_challenge(struct smtpc_conn *);

/* --- prepare.c --- */
/* The ticket's envelope; NULL: the message has no such. */
const struct ga_envelope *smtpc_envelope(const struct ga_message *, const struct ga_ticket *);
void smtpc_prepare(struct smtpc_conn *, struct ga_batch);
void smtpc_prepare_cancel(struct smtpc_conn *);

/* --- transaction.c --- */
void smtpc_txn_begin(struct smtpc_conn *);
void smtpc_txn_reply(struct smtpc_conn *);
/* After a transaction: carried tickets, the throttle's next batch, save, or QUIT. */
void smtpc_txn_next(struct smtpc_conn *);
/* The dot may go now. */
void smtpc_txn_release(struct smtpc_conn *);
/* The stream takes octets again (state BODY). */
void smtpc_txn_writable(struct smtpc_conn *);
/* Another piece of the body is there. */
void smtpc_txn_more(struct smtpc_conn *);

/* --- body.c --- */
enum smtpc_sent { SMTPC_SENT_ALL, SMTPC_SENT_HELD, SMTPC_SENT_BLOCKED, SMTPC_SENT_WAITS,
	SMTPC_SENT_DIRTY, SMTPC_SENT_UNREADABLE, SMTPC_SENT_ERROR };
void smtpc_body_begin(struct smtpc_conn *);
/* Writes as much as the stream takes.  end: the dot may be sent. */
enum smtpc_sent smtpc_body_send(struct smtpc_conn *, bool end, int *error);
void smtpc_body_end(struct smtpc_conn *);

/* --- result.c --- */
struct smtpc_verdict {
	enum ga_result result;
	unsigned code;
	bool network;
	enum ga_attempt_stage stage;	/* NOTHING: the host had no part in it */
	bool from_reply;		/* the enhanced code is the reply's, if it has one */
	const char *enhanced;		/* "" or "4.4.2" */
	struct ga_str text;
};
/* What the reply in c->reply means, for results. */
struct smtpc_verdict smtpc_verdict_reply(const struct smtpc_conn *);
void smtpc_result(struct smtpc_conn *, struct ga_ticket *, const struct smtpc_verdict *);
/* All tickets without a result get this one. */
void smtpc_result_rest(struct smtpc_conn *, const struct smtpc_verdict *);
/* The transaction is over, every ticket has a result: ends them all. */
void smtpc_results_end(struct smtpc_conn *);
/* Tickets that no transaction was made for (carried ones). */
void smtpc_carry_end(struct smtpc_conn *, const struct smtpc_verdict *);

/* --- phase.c --- */
void smtpc_phases_begin(struct smtpc_conn *);	/* of the next transaction */
/* The time since the last call goes to the state that it is in. */
void smtpc_phase_spend(struct smtpc_conn *);

/* --- attempt.c --- */
/* All have a result: hooks `result` and `attempt_done`, marks for reports. */
void smtpc_attempts_end(struct smtpc_conn *, struct ga_ticket *first);

/* --- saved.c --- */
void smtpc_saved_init(struct smtpc_loop *);
void smtpc_save(struct smtpc_conn *);
void smtpc_unsave(struct smtpc_conn *);
bool smtpc_fits(const struct ga_route *, void *conn);
bool smtpc_offer_batch(struct ga_group *, struct ga_batch);
bool smtpc_close_idle(struct ga_group *, struct ga_worker *);
unsigned smtpc_saved(const struct ga_group *);

/* --- walk.c --- */
typedef void smtpc_post_fn(struct ga_worker *, struct ga_post *);
/* A command under way.  Embedded in what the command needs; main loop, but for post. */
struct smtpc_walk {
	struct ga_post post;
	struct ga_control_call *call;
	unsigned at;			/* loop it is on */
	LIST_ENTRY(smtpc_walk) link;
	void (*free_)(struct smtpc_walk *);
};
/* visit is called on the first loop, */
void smtpc_walk_begin(struct smtpc_walk *, struct ga_control_call *, smtpc_post_fn *visit,
    void (*free_)(struct smtpc_walk *));
/* and from it these: the next loop, or home when there is none; home at once. */
void smtpc_walk_next(struct smtpc_walk *, smtpc_post_fn *home);
void smtpc_walk_home(struct smtpc_walk *, smtpc_post_fn *home);
/* It has been answered. */
void smtpc_walk_end(struct smtpc_walk *);
/* All loops have ended. */
void smtpc_walks_stop(void);

/* --- connections.c --- */
void smtpc_connections_init(struct ga_inst *);
void smtpc_cursors_pass(struct smtpc_loop *, const struct smtpc_conn *);

/* --- explain.c --- */
void smtpc_explain(struct ga_group_question *);
void smtpc_explain_stop(void);

/* --- close.c --- */
void smtpc_close_init(struct ga_inst *);

/* --- report.c --- */
void smtpc_report_init(struct ga_inst *);
void smtpc_stats(struct ga_delivery_stats *);
const char *smtpc_state_name(enum smtpc_state);
const char *smtpc_command_name(enum smtpc_state);

#endif
