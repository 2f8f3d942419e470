/*
 * session.h - one inbound SMTP connection, and what its parts may do with it.
 *
 * A session lives and dies on one worker loop.  It is a state machine: what comes
 * from the client goes to the function of its state (session.c); commands are in
 * cmd_*.c, the message in data.c, cmd_bdat.c, receive.c and commit.c.
 *
 * Every entry from outside (stream, timer, hook, intake) is bracketed by
 * smtpd_enter() and smtpd_leave(): between them replies gather in the worker's
 * buffer and go out in one write, and the session may be ended by any function but
 * is freed only by smtpd_leave().
 */
#ifndef SMTPD_SESSION_H
#define SMTPD_SESSION_H

#include <greenarrow/mail.h>
#include <greenarrow/service/intake.h>

#include "scan.h"
#include "service.h"
#include "trace.h"

#define SMTPD_MAGIC 0x534d5044u

/* Read at a time; also the input kept while a session waits for something. */
#define SMTPD_IN_ROOM 65536u
/* Replies gathered before a write; more than SMTPD_OUT_MAX unsent: the client's
 * commands wait until it reads (a reply is at most 512, RFC 5321 4.5.3.1.5). */
#define SMTPD_OUT_ROOM 16384u
#define SMTPD_OUT_MAX (256u * 1024u)
#define SMTPD_REPLY_MAX 512u
/* RFC 5321 4.5.3.1.4, CRLF included; parameters of extensions add to it. */
#define SMTPD_LINE 512u
#define SMTPD_LINE_MAX 2048u
/* An over-long line is read and dropped up to here, then the session ends. */
#define SMTPD_SKIP_MAX 65536u
/* Dropped after the last reply, so that a reset does not overtake it. */
#define SMTPD_LINGER_MAX (1u << 20)

enum smtpd_state {
	S_PROXY,		/* the PROXY header is awaited */
	S_GREETING,		/* connect hooks are asked */
	S_COMMAND,		/* the next command is awaited or processed */
	S_ASK,			/* a hook was asked about a command */
	S_TLS,			/* 220 is sent, then the handshake */
	S_AUTH,			/* the next line of an AUTH exchange is awaited */
	S_VERIFY,		/* a password is checked, or its refusal waits for its time */
	S_DATA,			/* the message is received, up to its dot */
	S_CHUNK,		/* the octets of a BDAT are received, or dropped */
	S_HELD,			/* ... but not now: memory or the spool is behind */
	S_CONTENT,		/* hooks look at the message */
	S_COMMIT,		/* on its way to stable storage */
	S_CLOSING,		/* last replies are sent */
	S_LINGER,		/* ... and heard: input is dropped until the client closes */
	S_DEAD,
	S_COUNT_
};

/* Why a message will be refused once its end has come. */
enum smtpd_refusal {
	REFUSE_NOT = 0,
	REFUSE_SIZE, REFUSE_HEADER, REFUSE_NUL, REFUSE_BARE, REFUSE_LOOP,
	REFUSE_FIELD,		/* a header field that steers us, wrong_field */
	REFUSE_FULL,		/* the spool or memory has no room */
	REFUSE_ERROR		/* the spool failed */
};

struct smtpd_session;
struct smtpd_worker;
typedef void smtpd_answer_fn(struct smtpd_session *, enum ga_verdict);

struct smtpd_upload;			/* upload.c: a large body on its way */

/* cmd_bdat.c: a message that comes in chunks, and the chunk that is being read. */
struct smtpd_bdat {
	bool begun;				/* a chunk was taken: no RCPT, no DATA */
	bool failed;				/* one was refused: all are until RSET */
	uint64_t chunks;			/* taken so far */
	bool last;
	uint64_t size, left;			/* as announced; still to come */
	struct ga_str fault;			/* the reply to it; empty: it is taken */
};

struct smtpd_session {
	uint32_t magic;
	enum smtpd_state state;
	struct smtpd_session *prev, *next;	/* of the worker */
	struct smtpd_worker *w;
	struct smtpd_gen *gen;
	struct smtpd_client *client;		/* our slot; NULL: not counted */
	struct ga_stream *stream;
	struct ga_timer *timer;
	uint64_t deadline_ms, timer_due_ms;	/* 0: none */
	struct ga_session *ga;
	const struct ga_plan *plan;		/* of ga */
	uint64_t id;

	/* input left over, output the client has not taken */
	char *in, *out;
	size_t nin, in_room, nout, out_room;
	unsigned want;				/* events asked of the stream */
	bool eof;				/* no more will come */
	size_t behind;				/* octets that came behind the command being run */
	bool linger;
	const char *over;			/* why it ends; NULL: it was lost */
	unsigned messages;			/* accepted */
	bool blocked;				/* commands wait until replies are read */
	/* a line being dropped */
	bool skip, skip_cr;
	size_t skipped;

	struct ga_sockaddr peer, local;
	bool implicit_tls;			/* TLS came before the greeting */
	bool greeted, xclient;			/* it may say XCLIENT */
	bool unnamed;				/* peer is who speaks for it, and its rights are not the client's */
	struct smtpd_proxy_read *proxy;		/* in S_PROXY, proxy.c */
	char peer_text[GA_SOCKADDR_TEXT];
	struct ga_str helo;			/* empty: not yet */
	size_t helo_room;
	bool esmtp, tls, relays;
	bool peer_relays;			/* because of its address, or RELAYCLIENT */
	bool crowded;				/* its address has as many sessions as it may; RELAYCLIENT lifts that */
	uint64_t max_size;			/* of a message: max_message_size or DATABYTES */
	/* AUTH, cmd_auth.c */
	struct smtpd_auth *auth;		/* the exchange; NULL: none */
	struct ga_str user, user_class;		/* in the session's pool; empty: nobody */
	unsigned auth_failures;
	bool auth_tried;			/* the command before was AUTH */
	unsigned errors, junk;			/* since the last accepted message */
	uint64_t dropped;			/* ... octets of chunks that were refused */
	unsigned rcpt_refused, rcpt_over;	/* of this transaction */

	/* a hook that was asked */
	struct ga_run run;
	smtpd_answer_fn *answer;
	enum smtpd_state asked_in;
	union {
		struct ga_ev_connect connect;
		struct ga_ev_helo helo;
		struct ga_ev_mail mail;
		struct ga_ev_rcpt rcpt;
		struct ga_ev_auth auth;
	} ev;

	/* the transaction, from an accepted MAIL to its end */
	struct ga_txn *txn;
	struct smtpd_scan scan;
	enum smtpd_refusal refusal;
	struct ga_str wrong_field;		/* its name; a constant */
	struct smtpd_bdat bdat;
	uint64_t raw;				/* octets since DATA or the first BDAT as they came */
	uint64_t data_start_ms, held_since_ms;
	enum smtpd_state held_in;
	bool complete;				/* the end of data was seen */
	struct smtpd_upload *upload;
	bool commits;				/* intake has it: must live until its answer */
	struct ga_intake_submit submit;
};

/* Per loop: buffers that serve one session at a time. */
struct smtpd_worker {
	struct ga_inst *inst;
	struct ga_worker *loop;
	const struct ga_intake *intake;
	const struct ga_spool *spool;		/* NULL: no large bodies on the fly */
	struct smtpd_session *sessions;
	struct smtpd_session *current;		/* whose replies are in out */
	unsigned nsessions;
	bool draining, stopping;
	struct ga_hold *hold;
	struct ga_timer *drain_timer;
	time_t date_of;
	size_t date_n;
	char date[GA_DATE_ROOM];
	size_t nout;
	char out[SMTPD_OUT_ROOM];
	char in[2 * SMTPD_IN_ROOM];
};

/* A connection that has just been accepted. */
struct smtpd_arrival {
	struct ga_stream *stream;
	struct ga_sockaddr peer, local;
	struct smtpd_client *client;		/* its slot */
	bool relays;				/* its address may */
	bool crowded;				/* its address has as many sessions as it may */
	bool tls;				/* from the first octet */
	bool proxied;				/* ... behind a PROXY header, which says who it is */
};

/* session.c */
/* Takes over the reference to the generation, the stream and the slot. */
void smtpd_session_new(struct smtpd_worker *, struct smtpd_gen *, const struct smtpd_arrival *);
/* Asks who may connect, then greets. */
void smtpd_session_begin(struct smtpd_session *);
void smtpd_enter_state(struct smtpd_session *, enum smtpd_state);
void smtpd_enter(struct smtpd_session *);
void smtpd_leave(struct smtpd_session *);
/* Ends it after what is to be sent; linger: the client may still be sending. */
void smtpd_close(struct smtpd_session *, bool linger);
/* Ends it now. */
void smtpd_abort(struct smtpd_session *);
void smtpd_deadline(struct smtpd_session *, uint64_t ms);
/* Back to waiting for a command, with the full time for it. */
void smtpd_next_command(struct smtpd_session *);
/* Forgets the transaction. */
void smtpd_reset(struct smtpd_session *, enum ga_end);
/* Shutdown: sessions between transactions are told to go; force: all. */
void smtpd_drain_session(struct smtpd_session *, bool force);

/* io.c */
void smtpd_ready(struct ga_stream *, unsigned events, void *arg);
void smtpd_flush(struct smtpd_session *);
void smtpd_unblock(struct smtpd_session *);
void smtpd_update_want(struct smtpd_session *);
/* Goes on with input kept while the session waited. */
void smtpd_resume_input(struct smtpd_session *);

/* reply.c: one reply, whole, with its CRLF; a constant */
void smtpd_say_str(struct smtpd_session *, struct ga_str);
/* The same; hooks are shown something else. */
void smtpd_say_secret(struct smtpd_session *, struct ga_str, struct ga_str shown);
#define smtpd_say(s, text) smtpd_say_str((s), GA_STR(text "\r\n"))
/* One line made here, without CRLF; control characters in it are replaced. */
void smtpd_sayf(struct smtpd_session *, const char *fmt, ...) GA_PRINTF(2, 3);
/* The reply to EHLO: what holds for every client, and what for this one alone (ehlo.c). */
void smtpd_say_ehlo(struct smtpd_session *, struct ga_str common);
/* 421 and the end.  text: a constant. */
void smtpd_goodbye(struct smtpd_session *, const char *enhanced, const char *text);
/* The refusal that a reply of a module or of intake says; fallback: code 4 or 5. */
void smtpd_say_reply(struct smtpd_session *, const struct ga_reply *, enum ga_verdict);

/* ask.c */
/* Asks hook; answer is called now, or later from S_ASK. */
void smtpd_ask(struct smtpd_session *, enum ga_hook_id, const void *event, smtpd_answer_fn *);
#define smtpd_asks(s, hook) GA_WANTED((s)->plan, hook)
/* TEMPFAIL, REJECT, CLOSE: says so, true. */
bool smtpd_refused(struct smtpd_session *, enum ga_verdict);
/* A watch hook that somebody listens to. */
void smtpd_tell(struct smtpd_session *, enum ga_hook_id, const void *event);
/* shown: as line is, or in its place when it holds credentials. */
void smtpd_tell_line(struct smtpd_session *, enum ga_line, struct ga_str shown, struct ga_str line);
/* Octets of a message, as they came. */
void smtpd_tell_content(struct smtpd_session *, const char *, size_t n);

/* command.c */
size_t smtpd_input_command(struct smtpd_session *, const char *, size_t n);
/* Digits, at least one; what does not fit is UINT64_MAX. */
bool smtpd_number(struct ga_str, uint64_t *);

typedef void smtpd_command_fn(struct smtpd_session *, struct ga_str arg);
smtpd_command_fn smtpd_cmd_helo, smtpd_cmd_ehlo, smtpd_cmd_mail, smtpd_cmd_rcpt,
    smtpd_cmd_data, smtpd_cmd_bdat, smtpd_cmd_rset, smtpd_cmd_noop, smtpd_cmd_quit, smtpd_cmd_vrfy,
    smtpd_cmd_help, smtpd_cmd_starttls, smtpd_cmd_auth, smtpd_cmd_xclient,
    smtpd_cmd_unsupported, smtpd_cmd_http;

/* cmd_helo.c: the client's name is that (empty: not said yet). */
void smtpd_introduced(struct smtpd_session *, struct ga_str name, bool esmtp);

/* cmd_starttls.c */
/* A handshake comes next, once all that was said has gone out. */
void smtpd_tls_next(struct smtpd_session *);
void smtpd_tls_begin(struct smtpd_session *);
/* Is that command for later, when there is TLS (require_tls)? */
bool smtpd_tls_missing(const struct smtpd_session *, struct ga_str verb);
ga_stream_tls_fn smtpd_tls_done;

/* data.c */
size_t smtpd_input_data(struct smtpd_session *, const char *, size_t n);
/* Why no message may begin, as the whole reply; empty: it may. */
struct ga_str smtpd_no_message_now(const struct smtpd_session *);

/* cmd_bdat.c */
size_t smtpd_input_chunk(struct smtpd_session *, const char *, size_t n);
/* A BDAT was not understood: nobody knows where its octets end and commands begin. */
void smtpd_lost_count(struct smtpd_session *);

/* receive.c */
void smtpd_receive_begin(struct smtpd_session *, enum smtpd_scan_how);
/* Octets of the message; returns those used, fewer only behind its end (complete). */
size_t smtpd_receive(struct smtpd_session *, const char *, size_t n);
/* What was counted is all of it. */
void smtpd_receive_end(struct smtpd_session *);
/* Moves the deadline; false: the client is too slow, and has been told. */
bool smtpd_in_time(struct smtpd_session *);
/* The same, and reads no further while there is no room. */
void smtpd_pace(struct smtpd_session *);
/* Octets of refused messages that are dropped. */
uint64_t smtpd_drop_limit(const struct smtpd_session *);
/* Reads no further until memory or the spool has room. */
void smtpd_hold(struct smtpd_session *);
/* Held: may it go on? */
void smtpd_held_tick(struct smtpd_session *);
void smtpd_refuse_message(struct smtpd_session *, enum smtpd_refusal);

/* upload.c */
bool smtpd_upload_wanted(const struct smtpd_session *);
/* Gives what has gathered to the spool; last: all of it. */
void smtpd_upload_feed(struct smtpd_session *, bool last);
/* Pieces not yet written. */
unsigned smtpd_upload_pending(const struct smtpd_session *);
/* For intake; the session has none any more. */
struct ga_spool_upload *smtpd_upload_take(struct smtpd_session *);
void smtpd_upload_drop(struct smtpd_session *);

/* commit.c */
/* The end of data has come: hooks, intake, reply. */
void smtpd_message_complete(struct smtpd_session *);
/* A large message's header has come, and nothing has gone to the spool yet: what steers us in it
 * is taken out.  False: the message is to be refused. */
bool smtpd_header_complete(struct smtpd_session *);
/* Why the message is refused, as a reply. */
void smtpd_say_refusal(struct smtpd_session *);
/* Our Received field for the message, whose id is drawn if it has none, and below it the
 * fields that the message lacks, where the service adds them. */
struct ga_str smtpd_trace(struct smtpd_session *);

#endif
