/*
 * run.h - calling hooks, and the objects that hooks are about.  Level strict.
 *
 * A caller embeds a struct ga_run for each question it may have open, checks
 * `plan->hooks[GA_HOOK_x] != NULL` (a hook that nobody subscribed to costs that
 * load and branch), fills the event and calls ga_run_hook().
 */
#ifndef GREENARROW_RUN_H
#define GREENARROW_RUN_H

#include <greenarrow/conf.h>
#include <greenarrow/ga_hook.h>
#include <greenarrow/ga_module.h>
#include <greenarrow/loop.h>
#include <greenarrow/message.h>

GA_BEGIN

enum ga_hook_id {
#define GA_DECIDE(n, ev) GA_HOOK_##n,
#define GA_SHAPE(n, ev)  GA_HOOK_##n,
#define GA_PERMIT(n, ev) GA_HOOK_##n,
#define GA_AMEND(n, ev)  GA_HOOK_##n,
#define GA_WATCH(n, ev)  GA_HOOK_##n,
#include <greenarrow/ga_hook.def>
#undef GA_DECIDE
#undef GA_SHAPE
#undef GA_PERMIT
#undef GA_AMEND
#undef GA_WATCH
	GA_HOOK_COUNT_
};

struct ga_step;				/* private: one module's function in a hook */
struct ga_plan {
	const struct ga_step *hooks[GA_HOOK_COUNT_];	/* NULL: nobody is asked */
	uint64_t modules;		/* bit i: module i is on in this scope */
};

/* The reply a hook left: code 0 = none. */
struct ga_reply {
	unsigned code;
	char enhanced[12];
	char text[500];
};

/* An inbound session and transaction as modules of level stable see them. */
GA_EXPORT struct ga_session *ga_session_new(struct ga_worker *,
    const struct ga_settings *service) GA_NODISCARD;
GA_EXPORT void ga_session_free(struct ga_session *, enum ga_end);
GA_EXPORT struct ga_pool *ga_session_pool(struct ga_session *);
/* All its variables are forgotten (ga_hook.h): the client is another one. */
GA_EXPORT void ga_session_variables_clear(struct ga_session *);

/* The plan in force for it: that of its service, without modules that left (ga_session_leave).
 * Changes only while a hook of the session runs, and by ga_session_variables_clear(), with
 * which all take part again. */
GA_EXPORT const struct ga_plan *ga_session_plan(const struct ga_session *);

/* What modules keep with an outgoing connection (GA_LIFE_CONNECTION).  Embedded in its owner's
 * object, zeroed at first; costs nothing until a module asks.  One loop.  _end() tells the modules and frees
 * what they kept; after it the struct may be used for another connection. */
struct ga_connection { struct gac_kept *kept_; };
GA_EXPORT void ga_connection_end(struct ga_connection *);

struct ga_rcpt {
	struct ga_str to;		/* as given, in the transaction's pool */
	struct ga_str domain;		/* lower case, A-label */
	struct ga_str orcpt;		/* DSN, decoded "type;addr", or empty */
	uint32_t notify;		/* enum ga_notify bits; 0 = not given */
	bool discard;			/* accepted, but goes nowhere */
};

/*
 * A transaction.  The module that speaks the protocol fills it; intake takes it.
 * Public to level strict.  Lives on one loop.
 */
struct ga_txn {
	struct ga_session *session;	/* NULL: not from a session */
	struct ga_worker *worker;
	struct ga_pool *pool;
	const struct ga_settings *settings;	/* of the smtp_service */
	const struct ga_plan *plan;
	struct ga_str sender;		/* reverse-path, may be empty (null) */
	struct ga_attrs attrs;		/* all message attributes but SENDER and FLAGS */
	struct ga_rcpt *rcpts;
	size_t nrcpts, rcpt_room;
	struct ga_body *body;		/* as received, without our Received */
	uint32_t header_size;		/* up to and with the empty line */
	uint32_t flags;			/* enum ga_msg_flag */
	uint32_t id;			/* message-id, drawn by intake begin() */
	uint64_t accepted_ms;		/* wall clock; set at commit when 0 */
	bool discard, hold;		/* verdicts so far */
	void *private_;			/* the core's: module states, content edits */
};
GA_EXPORT struct ga_txn *ga_txn_new(struct ga_worker *, struct ga_session *,
    const struct ga_settings *) GA_NODISCARD;
GA_EXPORT void ga_txn_free(struct ga_txn *, enum ga_end);
GA_EXPORT struct ga_rcpt *ga_txn_add_rcpt(struct ga_txn *);	/* zeroed */

/*
 * A running hook.  Caller's memory, zeroed at first; may be used again once
 * answered.  done is called on the loop, later, only if ga_run_hook() returned
 * GA_SUSPENDED_; it may not be called after ga_run_cancel().
 */
struct ga_run;
typedef void ga_run_fn(struct ga_run *, enum ga_verdict, void *arg);
struct ga_run {
	struct ga_worker *worker;
	const struct ga_settings *settings;
	struct ga_session *session;	/* NULL where it does not apply */
	struct ga_txn *txn;
	struct ga_connection *connection;
	struct ga_content *content;	/* what ga_header_* edit */
	struct ga_message *message;	/* whose notes ga_note_get() reads */
	uint64_t object_id;		/* for logs: session, message or connection */
	ga_run_fn *done;
	void *arg;
	struct ga_reply reply;		/* result */
	/* results of particular hooks */
	struct ga_str redirect;		/* rcpt, in txn's pool */
	char route[208];		/* route: name of the VirtualMTA set, "" = none */
	uint64_t schedule_ms;		/* schedule: 0 = unchanged */
	uint64_t retry_after_ms;	/* acquire */
	struct ga_call *call_;		/* private */
};
/*
 * Ask (decide, shape, permit) or tell (watch: always PASS).  Never returns
 * GA_FAILED_: the module's on_failure was applied.  The plan is that of run->session, if
 * there is one, else of run->settings.  The event must live until the answer.
 */
GA_EXPORT enum ga_verdict ga_run_hook(struct ga_run *, enum ga_hook_id, const void *event);
/* The object goes away while a question is open: its module is told. No-op otherwise. */
GA_EXPORT void ga_run_cancel(struct ga_run *, enum ga_why);
GA_EXPORT bool ga_run_busy(const struct ga_run *);
/* The message that a call is about: whose notes ga_note_get() reads, with all its attributes and
 * envelopes.  NULL where there is none, or it could not be read. */
GA_EXPORT const struct ga_message *ga_call_message(const struct ga_call *);
/* Of an attempt: what is of the message, into its event; NULL: it could not be read.  index: of the
 * envelope in the message.  Who tells of an attempt begins with ga_ticket_attempt() (service/delivery.h). */
GA_EXPORT void ga_attempt_message(struct ga_ev_attempt *, const struct ga_message *, uint32_t index);
/* The scope that a call is in. */
GA_EXPORT const struct ga_settings *ga_call_settings(const struct ga_call *);
/* Tell, in one line: true when somebody listens. */
#define GA_WANTED(plan, hook) ((plan)->hooks[GA_HOOK_##hook] != NULL)

/*
 * Content of a message being edited: header fields and body, parsed once in one
 * place.  head: octets up to and with the empty line.
 */
struct ga_content;
GA_EXPORT struct ga_content *ga_content_new(struct ga_body *, uint32_t header_size) GA_NODISCARD;
GA_EXPORT void ga_content_free(struct ga_content *);
GA_EXPORT bool ga_content_changed(const struct ga_content *);
/* Field i from the top, its value unfolded; false: there are no more.  As long as the content. */
GA_EXPORT bool ga_content_field(struct ga_content *, size_t i, struct ga_str *name, struct ga_str *value);
/* The message as it stands: a new body (one reference for the caller). */
GA_EXPORT struct ga_body *ga_content_body(struct ga_content *, uint32_t *header_size);
/* Runs header, body and eom (whatever the plan has) over the transaction's
 * message; t->body is replaced when edited.  Answers as ga_run_hook() does. */
GA_EXPORT enum ga_verdict ga_run_content(struct ga_run *);

/* Services: see service/<name>.h.  Provide in init, look up in start or later (in init
 * those of the modules that `after` names); the last provider of a name wins (order of load_module).  NULL: nobody
 * provides it, or in another version. */
GA_EXPORT void ga_service_provide(struct ga_inst *, const char *name, uint32_t version,
    const void *vtable);
GA_EXPORT const void *ga_service_get(const char *name, uint32_t version);
/* All providers of one name (transport): i = 0.. until NULL. */
GA_EXPORT const void *ga_service_nth(const char *name, uint32_t version, unsigned i,
    const char **module);

GA_END

#endif
