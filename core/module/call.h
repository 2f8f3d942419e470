/*
 * call.h - a running hook call; for run.c, wait.c, await.c and content.c only.
 */
#ifndef CORE_MODULE_CALL_H
#define CORE_MODULE_CALL_H

#include "module/inst.h"

struct ga_await;			/* what a ga_await_*() started: await.c */

struct ga_call {
	struct ga_run *run;		/* NULL: free */
	const struct ga_step *step;
	const void *event;
	enum ga_hook_id hook;
	uint32_t slot;			/* in the loop's table of waits */
	uint32_t generation;
	struct ga_pool *pool;		/* GA_LIFE_CALL; made when asked for */
	/* while suspended */
	bool suspended, resumed, running;
	const char *label;
	uint64_t since_ms, until_ms;	/* monotonic */
	ga_resume_fn *resume;
	void (*cancelled)(void *arg, enum ga_why);
	void *arg;
	struct ga_timer *deadline;
	struct ga_await *await;
	const struct ga_dns_answer *dns;
	unsigned fd_events;
	struct ga_post turn;		/* brings a resumed call to the loop's next turn */
	bool turning;			/* turn is posted */
	bool dead;			/* cancelled while turn is posted: free it then */
};

#define GAC_HOOK_TIMEOUT_MS 30000

/* run.c: goes on with the chain after this verdict of the current step. */
void gac_call_continue(struct ga_call *, enum ga_verdict);
/* wait.c */
struct ga_call *gac_call_new(struct ga_worker *);
void gac_call_free(struct ga_call *);
void gac_call_cancel(struct ga_call *, enum ga_why);
/* await.c: stops and frees what was started. */
void gac_await_stop(struct ga_call *);
/* connection.c: what the module of the call keeps with its connection. */
void *gac_connection_state(struct ga_call *);
/* content_run.c: before each module, the event of header, body and eom as the one
 * before left it.  False: it left nothing to ask about. */
bool gac_content_refresh(struct ga_call *);

#endif
