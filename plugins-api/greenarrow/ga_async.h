/*
 * ga_async.h - waiting without blocking the loop.
 *
 * The rules, numbered so that a review can cite them (A1 ... A14), are those of
 * docs/architecture.md, "Waiting".  In short: a hook that asks may return what
 * ga_suspend() or an ga_await_*() returned; then exactly one of resume and
 * cancelled runs, exactly once, on the loop, never inside ga_resume().
 */
#ifndef GREENARROW_GA_ASYNC_H
#define GREENARROW_GA_ASYNC_H

#include <greenarrow/ga_log.h>

GA_BEGIN

struct ga_worker;		/* one event loop, one thread */

enum ga_verdict {
	GA_PASS = 0,		/* no opinion: ask the next module */
	GA_ACCEPT,		/* yes, and do not ask the others */
	GA_TEMPFAIL,		/* 4yz; see ga_reply() */
	GA_REJECT,		/* 5yz; see ga_reply() */
	GA_DISCARD,		/* 2yz on the wire, nothing in the queue */
	GA_HOLD,		/* queue it, do not schedule it */
	GA_CLOSE,		/* 421 and close */
	GA_SUSPENDED_,		/* only what ga_suspend() returned */
	GA_FAILED_		/* only what ga_fail() returned */
};

enum ga_why {
	GA_WHY_TIMEOUT,		/* the wait's own limit, or the hook's */
	GA_WHY_PEER_GONE,	/* the session or attempt ended */
	GA_WHY_DRAIN,		/* reload or shutdown deadline */
	GA_WHY_SUPERSEDED	/* another module's verdict ended the hook */
};

/* Runs on the loop of the call; may suspend again. */
typedef enum ga_verdict ga_resume_fn(struct ga_call *, void *arg);

struct ga_wait {
	uint32_t size;		/* sizeof(struct ga_wait) */
	uint32_t timeout_ms;	/* 0 = the hook's limit from the configuration */
	const char *label;	/* "dns mx": shown to the operator */
	ga_resume_fn *resume;
	void (*cancelled)(void *arg, enum ga_why);	/* may be NULL */
	void *arg;
};

/* Index and generation; a stale one is refused, not followed. */
struct ga_token {
	uint64_t id;
};

/* return ga_suspend(c, &w, &tok);  The loop of the call. */
GA_EXPORT enum ga_verdict ga_suspend(struct ga_call *, const struct ga_wait *,
    struct ga_token *) GA_NODISCARD;
/* True if the token was live.  Loop of the call; before the hook returned is fine. */
GA_EXPORT bool ga_resume(struct ga_worker *, struct ga_token);
/* The only function of the stable level that any other thread may call.  True:
 * handed to the loop, which ignores it if the token is stale by then. */
GA_EXPORT bool ga_resume_from_thread(struct ga_token);

/* return ga_fail(c, "redis: %s", why); logs, applies the hook's on_failure. */
GA_EXPORT enum ga_verdict ga_fail(struct ga_call *, const char *fmt, ...)
    GA_PRINTF(2, 3) GA_NODISCARD;

/*
 * Suspend + start + cancel in one: nothing to leak, nothing to forget.
 *  dns    rrtype is the IANA number; the answer: ga_dns_result() in resume
 *  timer  resume after ms
 *  fd     resume when one of events (GA_READ|GA_WRITE) holds or timeout_ms passed
 *         (ga_fd_events() says which; 0 = timeout); the descriptor stays the module's
 *  work   run work(arg) on a helper thread, then resume; if the call ends earlier,
 *         work still runs to its end: what arg points at must outlive it
 */
GA_EXPORT enum ga_verdict ga_await_dns(struct ga_call *, struct ga_str name,
    unsigned rrtype, ga_resume_fn *, void *arg) GA_NODISCARD;
GA_EXPORT enum ga_verdict ga_await_timer(struct ga_call *, uint32_t ms,
    ga_resume_fn *, void *arg) GA_NODISCARD;
GA_EXPORT enum ga_verdict ga_await_fd(struct ga_call *, int fd, unsigned events,
    uint32_t timeout_ms, ga_resume_fn *, void *arg) GA_NODISCARD;
GA_EXPORT enum ga_verdict ga_await_work(struct ga_call *, void (*work)(void *arg),
    ga_resume_fn *, void *arg) GA_NODISCARD;
GA_EXPORT unsigned ga_fd_events(struct ga_call *);

/* One answer to one DNS question.  rcode as in RFC 1035 (0 ok, 2 SERVFAIL, 3 NXDOMAIN);
 * rdata in wire format with names uncompressed; canonname set after CNAMEs. */
struct ga_dns_answer {
	int rcode;
	bool secure, bogus, timed_out;
	uint32_t ttl;			/* seconds */
	const struct ga_str *rdata;
	size_t n;
	struct ga_str canonname;
};
/* In resume of ga_await_dns(); borrowed until resume returns; NULL = no answer. */
GA_EXPORT const struct ga_dns_answer *ga_dns_result(struct ga_call *);

#define GA_READ  1u
#define GA_WRITE 2u

/*
 * Long-lived watchers of an instance, on one loop; freed with the instance if
 * the module forgets.  All calls on that loop (ga_timer_new and ga_io_new also
 * on the main thread before the loops run).  A timer may be freed in its own fn.
 */
struct ga_timer;
struct ga_io;
typedef void ga_timer_fn(struct ga_inst *, struct ga_worker *, void *arg);
typedef void ga_io_fn(struct ga_inst *, struct ga_worker *, int fd, unsigned events,
    void *arg);
GA_EXPORT struct ga_timer *ga_timer_new(struct ga_inst *, struct ga_worker *,
    ga_timer_fn *, void *arg);
/* Fires once after after_ms, then every repeat_ms unless 0.  Re-arming replaces. */
GA_EXPORT void ga_timer_arm(struct ga_timer *, uint64_t after_ms, uint64_t repeat_ms);
GA_EXPORT void ga_timer_stop(struct ga_timer *);
GA_EXPORT bool ga_timer_armed(const struct ga_timer *);
GA_EXPORT void ga_timer_free(struct ga_timer *);	/* NULL is fine */
GA_EXPORT struct ga_io *ga_io_new(struct ga_inst *, struct ga_worker *, int fd,
    ga_io_fn *, void *arg);
GA_EXPORT void ga_io_want(struct ga_io *, unsigned events);
GA_EXPORT void ga_io_free(struct ga_io *);		/* does not close fd */

/* Milliseconds of the loop's monotonic clock, as of the start of this turn. */
GA_EXPORT uint64_t ga_now_ms(struct ga_worker *);

GA_END

#endif
