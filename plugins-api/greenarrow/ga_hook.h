/*
 * ga_hook.h - the points where modules are asked or told.
 *
 * Five classes:
 *   decide   returns a verdict; asked in the order of load_module until one is
 *            not PASS; may suspend
 *   shape    returns a verdict; every module is asked and sees what the previous
 *            one left; the first verdict other than PASS ends it; may suspend
 *   permit   returns PASS or HOLD; every module must grant; may not suspend;
 *            what was granted is given back, last first, when one holds
 *   amend    returns a verdict; asked in turn until one is not PASS; may not suspend;
 *            a module that fails has said PASS
 *   watch    returns nothing; every module is told; may not suspend
 *
 * An answer that the event's comment does not list is a failure of the module, and
 * its on_failure is taken instead (ga_module.h).
 *
 * A hook runs on the home loop of the object it is about.  Everything in an
 * event is borrowed.  Structs only ever grow at their end.
 */
#ifndef GREENARROW_GA_HOOK_H
#define GREENARROW_GA_HOOK_H

#include <greenarrow/ga_async.h>

GA_BEGIN

struct ga_session;	/* one inbound SMTP connection */
struct ga_txn;		/* one inbound transaction: MAIL to end of data */
struct ga_message;	/* one message in the queue */
struct ga_envelope;	/* one recipient of a message */

/* What is true while a hook runs; NULL where it does not apply. */
GA_EXPORT struct ga_inst *ga_call_inst(struct ga_call *);
GA_EXPORT struct ga_worker *ga_call_worker(struct ga_call *);
/* The module's directives as resolved for the scope of the call. */
GA_EXPORT const void *ga_call_conf(struct ga_call *);
/* The module's zeroed memory of that lifetime (session_size, txn_size, connection_size of
 * the descriptor), and the pool of the lifetime (none for GA_LIFE_CONNECTION). */
GA_EXPORT void *ga_call_state(struct ga_call *, enum ga_lifetime);
GA_EXPORT struct ga_pool *ga_call_pool(struct ga_call *, enum ga_lifetime);

/* The inbound session that the call is about; NULL where it does not apply. */
GA_EXPORT struct ga_session *ga_call_session(const struct ga_call *);

/*
 * Variables of an inbound session: first what environment_file of its service exports, then
 * what modules set in connect, as tcp_rules does.  What RELAYCLIENT and others mean is
 * in greenarrow.conf(5).  A variable that is set is on, even when empty.  Names compare with case.
 * On the session's loop.  ga_session_variable(): *value (may be NULL) is borrowed as long as the
 * session; false: not set.  _set() copies both.  When the client turns out to be
 * another one (XCLIENT), what connect set is forgotten and connect is asked again.
 */
GA_EXPORT bool ga_session_variable(const struct ga_session *, struct ga_str name,
    struct ga_str *value);
GA_EXPORT void ga_session_variable_set(struct ga_session *, struct ga_str name,
    struct ga_str value);
GA_EXPORT void ga_session_variable_unset(struct ga_session *, struct ga_str name);
/* The module of this call has nothing more to do in the call's inbound session: none of its
 * hooks is called in it again until connect is asked anew.  For modules that a variable
 * switches on. */
GA_EXPORT void ga_session_leave(struct ga_call *);

/* The reply that goes with TEMPFAIL, REJECT or CLOSE: code 4yz/5yz (RFC 5321),
 * enhanced "4.7.1" (RFC 3463), text of one line.  The last one before the verdict counts;
 * without one the caller of the hook has a default. */
GA_EXPORT void ga_reply(struct ga_call *, unsigned code, const char *enhanced,
    const char *fmt, ...) GA_PRINTF(4, 5);

struct ga_addr {
	struct ga_str text;	/* "192.0.2.1", "2001:db8::1" */
	uint16_t port;
	uint8_t family;		/* AF_INET, AF_INET6 */
};
struct ga_param { struct ga_str key, value; };	/* ESMTP parameter; value may be empty */

/* A client connected, before the greeting; with implicit TLS after the handshake, of which
 * the hook tls has told already.  ACCEPT TEMPFAIL REJECT CLOSE.  Behind a PROXY header the
 * client is the one that it names; XCLIENT makes another client, and connect is asked anew. */
struct ga_ev_connect {
	struct ga_session *s;
	struct ga_addr peer, local;
	struct ga_str service;	/* name of the smtp_service */
	bool tls;		/* implicit TLS */
	/* appended */
	bool unnamed;		/* nobody knows who the client is: peer is the proxy that speaks for
				   it, whose rights are not the client's */
};
/* HELO or EHLO was given.  ACCEPT TEMPFAIL REJECT CLOSE. */
struct ga_ev_helo { struct ga_session *s; struct ga_str name; bool esmtp; };
/* TLS was established. */
struct ga_ev_tls {
	struct ga_session *s;
	struct ga_str version, cipher, peer_name;
	bool verified;
};
/* MAIL FROM.  ACCEPT TEMPFAIL REJECT DISCARD HOLD CLOSE; the middle two are about
 * the message that will come. */
struct ga_ev_mail {
	struct ga_session *s;
	struct ga_txn *t;
	struct ga_str from;	/* without <> */
	const struct ga_param *param;
	size_t nparam;
};
/* RCPT TO, after the relay check allowed or refused it (relayed says which).
 * ACCEPT takes a recipient that would be refused; TEMPFAIL REJECT CLOSE; DISCARD is
 * about this recipient, HOLD about the whole message. */
struct ga_ev_rcpt {
	struct ga_session *s;
	struct ga_txn *t;
	struct ga_str to, domain;
	const struct ga_param *param;
	size_t nparam;
	bool relayed;		/* would be accepted without any module */
};
/* One header field, in order, after the end of data.  X-GreenArrow-MtaID and the other
 * fields that steer a message (greenarrow.conf(5), INJECTION HEADERS) are there; behind eom
 * they are taken out, also those that modules added, and obeyed if the client may relay.  ga_header_set(),
 * ga_header_drop(): a field that was dropped is not shown to the modules behind.
 * TEMPFAIL REJECT DISCARD HOLD CLOSE. */
struct ga_ev_header {
	struct ga_txn *t;
	struct ga_str name, value;	/* value unfolded, without the leading blank */
	unsigned index;			/* from the top, of what is not dropped */
};
/* The body below the header, piece by piece; a piece may end within a line.
 * ga_body_replace(): with nothing, the piece is not shown to the modules behind.
 * TEMPFAIL REJECT DISCARD HOLD CLOSE. */
struct ga_ev_body { struct ga_txn *t; struct ga_str chunk; uint64_t offset; };
/* The message is complete: headers and body can be read and edited
 * (ga_header_*, ga_body_*); size counts what was edited before this module was asked.
 * TEMPFAIL REJECT DISCARD HOLD CLOSE. */
struct ga_ev_eom { struct ga_txn *t; uint64_t size; unsigned nrcpt; };
/* About to go on stable storage.  ACCEPT TEMPFAIL REJECT DISCARD HOLD. */
struct ga_ev_commit { struct ga_txn *t; uint32_t message_id; };
/* It is on stable storage. */
struct ga_ev_queued {
	uint32_t message_id;
	struct ga_str sender;
	uint64_t size;
	unsigned nrcpt;
};

/* A deferred envelope gets its next attempt's time; ga_schedule_set().  HOLD: none
 * before its lifetime ends.  After a failure of the module: the proposed time. */
struct ga_ev_schedule {
	struct ga_str sender, recipient, domain;
	uint64_t envelope_id;
	unsigned attempts;
	uint64_t accepted_ms, next_ms, expires_ms;	/* wall clock; proposed */
};
/* The route of an attempt was computed; ACCEPT with ga_route_set(), TEMPFAIL, REJECT. */
struct ga_ev_route {
	struct ga_str virtual_mta, domain;	/* chosen VirtualMTA */
	struct ga_str group_key;
	uint64_t envelope_id;
};
/* An attempt of n envelopes wants to start in a throttle group. */
struct ga_ev_throttle {
	struct ga_str group_key, virtual_mta, domain;
	unsigned recipients;
};
/* An attempt is about to send: ga_header_*, ga_body_* edit what this attempt
 * sends, not what is stored.  TEMPFAIL REJECT end the attempt. */
struct ga_ev_outgoing {
	struct ga_str sender, recipient, domain;	/* of the first recipient */
	struct ga_str virtual_mta;
	uint32_t message_id;
	uint64_t size;
	unsigned nrcpt;
};
/*
 * An outgoing connection.
 *   connection_opened  connected, before the greeting
 *   connection_failed  could not be connected; reason.  local: the source, when one is chosen
 *   connection_tls     a handshake ended: tls_version and tls_cipher, or reason, and then the
 *                      connection is closed
 *   connection_saved   kept open without work
 *   connection_reused  begins another transaction, saved before or not; virtual_mta, domain and
 *                      the scope of the hook are those of that transaction
 *   connection_closed  is about to be closed, by either side; reason
 * When a host is given up and another is tried for the same recipients the id is another one; memory of
 * GA_LIFE_CONNECTION stays.
 */
struct ga_ev_connection {
	uint64_t id;		/* as shown by remote_connections */
	struct ga_addr local, remote;
	struct ga_str mx_hostname, virtual_mta, domain, group_key;
	unsigned deliveries_done;
	bool tls;
	struct ga_str reason;	/* closed, failed: why */
	/* appended; of connection_tls */
	struct ga_str tls_version, tls_cipher;	/* "TLS1.3", "TLS_AES_256_GCM_SHA384" */
	bool verified;		/* a valid certificate of the host's name; only where one is asked for */
};
enum ga_line { GA_IN_CMD, GA_IN_REPLY, GA_OUT_CMD, GA_OUT_REPLY };
/* One line of SMTP, without CRLF, credentials masked.  IN: we are the server. */
struct ga_ev_line {
	uint64_t session_id;
	enum ga_line kind;
	struct ga_str text;
	/* appended */
	struct ga_str secret;	/* the line as it is, where text has [credentials] in it, else
				   empty.  Wiped after the call; to be written nowhere unless
				   somebody who may has asked for that */
};
/*
 * Octets as they cross a connection, piece by piece, inside TLS where there is TLS; each direction
 * in its order.  OUT: all of them, sent ones when the stream has taken them.  IN: the text of
 * messages alone (everything else is lines, and told as such), up to and with the dot.
 */
struct ga_ev_bytes {
	uint64_t session_id;	/* OUT: the connection's */
	enum ga_line kind;	/* of GA_IN_CMD, GA_OUT_CMD, GA_OUT_REPLY: the direction */
	bool content;		/* of a message, as DATA or BDAT carry it */
	bool secret;		/* credentials: see ga_ev_line */
	struct ga_str octets;	/* never empty; a line, or a CRLF, may be cut in two */
};
/* An inbound connection is about to be closed, by either side.  The last hook of its
 * session but for those of a message that is on its way to storage. */
struct ga_ev_disconnect {
	struct ga_session *s;
	uint64_t session_id;
	unsigned messages;	/* accepted */
	bool tls;
	struct ga_str reason;	/* "quit", "closed by the client", "TLS: ..." */
};
enum ga_outcome { GA_DELIVERED, GA_DEFERRED, GA_FAILED };
/* One attempt of one envelope has ended.  result is asked, of attempts that a connection was made
 * or looked for, before it goes on record: ACCEPT makes a success of it, TEMPFAIL a deferral, REJECT
 * a failure, with the text of ga_reply() if one is given.  It may not wait, and a module that fails
 * has said PASS.
 * attempt_done is told what came of it, once for each attempt and for each end of an envelope:
 * also where the queue itself ended it, by its route, a pause or the end of its lifetime
 * (connection_id 0, stage NOTHING, no host); then on the message's loop, else on the
 * connection's.  And of GA_STATUS_CONNMAXOUT, which was no attempt.
 * attempt_failed is told, after it, of those that result is asked of and that did not deliver. */
/* How far it had come: what had no answer, or the answer that ended it.  EHLO counts to what was
 * there before it, GREETING or TLS; NOTHING: the host had no part in it. */
enum ga_attempt_stage {
	GA_AT_NOTHING, GA_AT_CONNECT, GA_AT_GREETING, GA_AT_TLS, GA_AT_AUTH, GA_AT_MAIL,
	GA_AT_RCPT, GA_AT_DATA, GA_AT_MESSAGE
};
/* The outcome as delivery logs name it. */
enum ga_attempt_status {
	GA_STATUS_SUCCESS,
	GA_STATUS_DEFERRAL,		/* tried again later */
	GA_STATUS_FAILURE,
	GA_STATUS_FAILURE_TOOLONG,	/* deferred for the last time: its lifetime is over.  In result
					   it is a deferral still; a module may make something else of it */
	GA_STATUS_CONNMAXOUT		/* limits of its throttle group kept the attempt from starting for
					   longer than connmaxout_after; it goes on waiting, and is told
					   of once before each attempt.  outcome is DEFERRED, attempts is
					   that of the attempt that has not begun */
};
/* The state of the envelope in which the attempt was made. */
enum ga_queue_state {
	GA_QUEUE_RAM,			/* its first attempt */
	GA_QUEUE_BOUNCE,		/* its first attempt; generated here */
	GA_QUEUE_DISK			/* a later one */
};
/* What an attempt's time went to.  What its connection did before it (CONNECT to AUTH) counts
 * for the first attempt on it; hosts that were tried in vain add up. */
enum ga_attempt_phase {
	GA_PHASE_CONNECT, GA_PHASE_GREETING, GA_PHASE_EHLO, GA_PHASE_TLS, GA_PHASE_AUTH, GA_PHASE_MAIL,
	GA_PHASE_RCPT, GA_PHASE_DATA, GA_PHASE_MESSAGE, GA_PHASE_DOT, GA_PHASES
};
#define GA_NO_TIME UINT32_MAX		/* it did not come to that */
struct ga_ev_attempt {
	uint64_t envelope_id, connection_id;
	struct ga_str sender, recipient, domain;
	enum ga_outcome outcome;
	unsigned code;			/* SMTP reply, 0 = none */
	struct ga_str enhanced, text;	/* "5.1.1"; text in one line */
	struct ga_str mx_hostname, mx_ip, source_ip, virtual_mta, group_key;
	unsigned attempts;		/* this one included */
	uint64_t size;
	uint32_t connect_ms, total_ms;
	bool tls;
	/* appended */
	enum ga_attempt_stage stage;
	struct ga_str reply;		/* what the host said, LF between lines; "" = no reply */
	struct ga_str from_domain;	/* of the From field's first address, lower case, A-label;
					   "" = none, or not known when the attempt ended early */
	/* appended in 1.5.  What is of the message is 0 or "" when it could not be read, sender
	 * and recipient as well. */
	enum ga_attempt_status status;
	enum ga_queue_state queue;
	uint64_t accepted_ms;		/* the message was taken; wall clock */
	struct ga_str msguid;		/* "<unix seconds>.<8 digits>", for all its life */
	struct ga_str send_id, list_id, mail_class, instance_id, click_tracking_id;
	struct ga_str from_address;	/* of the From field's first address */
	uint32_t assigned_mta_id;	/* number of the VirtualMTA that the message named, or of the default */
	uint32_t mta_id;		/* of the one that was used, virtual_mta */
	bool not_synced;		/* taken with queue_fsync no: 250 was no promise */
	struct ga_str source_hostname;	/* the name we give in EHLO there; "" = no host was to be asked */
	struct ga_str extensions;	/* of ESMTP that the host offered and we know, "PIPELINING,SIZE" */
	uint32_t phase_ms[GA_PHASES];	/* by enum ga_attempt_phase, GA_NO_TIME where there is none */
};

/* A client wants to log in.  PLAIN and LOGIN: asked before smtp_users is looked at, with the
 * password; ACCEPT lets it in under that name, PASS leaves it to smtp_users.  SCRAM-SHA-256: asked after
 * the client has proved that it knows the password, which is empty here; ACCEPT and PASS
 * let it in.  REJECT is answered as a wrong password, 535; TEMPFAIL 454 unless ga_reply() says
 * otherwise; CLOSE. */
struct ga_ev_auth {
	struct ga_session *s;
	struct ga_str mechanism;	/* "PLAIN" "LOGIN" "SCRAM-SHA-256" */
	/* As the client sent them; wiped when the question has been answered.  A user of more
	 * than 255 octets, not UTF-8, or with `:` or a control character gets in by no ACCEPT. */
	struct ga_str user, password;
};

struct ga_hooks {
	uint32_t size;		/* sizeof(struct ga_hooks) */
	uint32_t reserved_;
#define GA_DECIDE(n, ev) enum ga_verdict (*n)(struct ga_call *, const struct ev *);
#define GA_SHAPE(n, ev)  enum ga_verdict (*n)(struct ga_call *, const struct ev *);
#define GA_PERMIT(n, ev) enum ga_verdict (*n)(struct ga_call *, const struct ev *);
#define GA_AMEND(n, ev)  enum ga_verdict (*n)(struct ga_call *, const struct ev *);
#define GA_WATCH(n, ev)  void (*n)(struct ga_call *, const struct ev *);
#include <greenarrow/ga_hook.def>
#undef GA_DECIDE
#undef GA_SHAPE
#undef GA_PERMIT
#undef GA_AMEND
#undef GA_WATCH
};

/*
 * Content.  In header: the field the hook is about.  In eom and outgoing: fields
 * by index, 0 the topmost; a value is what follows the colon and its blank,
 * without the line end; folding (CRLF + blank) may be in it and may be put in.
 * Names and values with bare CR or LF, NUL or no name are refused: false.
 */
GA_EXPORT bool ga_header_set(struct ga_call *, struct ga_str value);
GA_EXPORT bool ga_header_drop(struct ga_call *);
GA_EXPORT size_t ga_header_count(struct ga_call *);
GA_EXPORT bool ga_header_get(struct ga_call *, size_t i, struct ga_str *name,
    struct ga_str *value);
/* First field of that name at or after `from`; -1 if none. */
GA_EXPORT long ga_header_find(struct ga_call *, struct ga_str name, size_t from);
GA_EXPORT bool ga_header_set_at(struct ga_call *, size_t i, struct ga_str value);
GA_EXPORT bool ga_header_drop_at(struct ga_call *, size_t i);
/* Before field `at`; at >= count (or -1): below the last one. */
GA_EXPORT bool ga_header_add(struct ga_call *, struct ga_str name,
    struct ga_str value, long at);
/* In body: what goes on instead of this chunk; the last call counts.  In eom, outgoing:
 * the whole body (CRLF line ends, without dot-stuffing).  No NUL; a message whose body
 * has other line ends after all body hooks is answered with TEMPFAIL. */
GA_EXPORT bool ga_body_replace(struct ga_call *, struct ga_str chunk);
GA_EXPORT bool ga_body_replace_all(struct ga_call *, struct ga_str body);
/* eom, outgoing: the complete message as it stands now, edits included, read
 * piece by piece; 0 = end.  n octets at most into buf. */
GA_EXPORT size_t ga_msg_read(struct ga_call *, uint64_t offset, void *buf, size_t n);

/* rcpt: deliver to this address instead. */
GA_EXPORT bool ga_rcpt_redirect(struct ga_call *, struct ga_str to);
/* schedule: another time (wall clock ms). */
GA_EXPORT bool ga_schedule_set(struct ga_call *, uint64_t next_ms);
/* route, with ACCEPT: another VirtualMTA for this attempt. */
GA_EXPORT bool ga_route_set(struct ga_call *, struct ga_str virtual_mta);
/* acquire, with HOLD: ask again after ms (0: a minute). */
GA_EXPORT void ga_retry_after(struct ga_call *, uint64_t ms);

/* eom, queue_commit: a note of this module travels with the message through
 * the spool; ga_note_get() reads it in outgoing and attempt_done. */
GA_EXPORT bool ga_note_set(struct ga_call *, const char *key, struct ga_str value);
GA_EXPORT struct ga_str ga_note_get(struct ga_call *, const char *key);

GA_END

#endif
