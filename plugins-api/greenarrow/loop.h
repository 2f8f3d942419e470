/*
 * loop.h - loops and the mailboxes between them.  Level strict.
 *
 * A loop is a thread with an event loop; "worker" and "loop" are one thing.
 * Every object has a home loop and only that loop touches it.  To reach an
 * object of another loop, post to that loop's mailbox.  Nothing blocks a loop.
 * Loops are numbered: workers 0 .. ga_worker_count()-1, the main loop last.
 */
#ifndef GREENARROW_LOOP_H
#define GREENARROW_LOOP_H

#include <greenarrow/ga_async.h>

GA_BEGIN

/* How many worker loops there are (`workers`); the main loop is not counted. */
GA_EXPORT unsigned ga_worker_count(void);
/* Worker i, 0 <= i < ga_worker_count(). */
GA_EXPORT struct ga_worker *ga_worker_get(unsigned i);
/* The main loop: signals, control socket, acceptors, routes. */
GA_EXPORT struct ga_worker *ga_worker_main(void);
/* 0 .. ga_worker_count()-1, or ga_worker_count() for the main loop. */
GA_EXPORT unsigned ga_worker_index(const struct ga_worker *);
/* The loop of the calling thread, or NULL on a thread that is not a loop. */
GA_EXPORT struct ga_worker *ga_worker_self(void);

/*
 * Mailboxes.  The node is embedded in the object that travels; the poster gives
 * the node away and may not touch it until fn runs.  A post never blocks,
 * never allocates, may be made from any thread, and is delivered in the order
 * of posts from one thread.  fn runs on the loop posted to, from the loop
 * itself, never inside ga_loop_post().  A drain handles at most 256 posts, then
 * lets the loop serve its descriptors.
 */
struct ga_post {
	struct ga_post *next;			/* private while posted */
	void (*fn)(struct ga_worker *, struct ga_post *);
};
GA_EXPORT void ga_loop_post(struct ga_worker *, struct ga_post *);

/*
 * Work that would block a loop (a password hash, a file): run is called on a helper
 * thread, then done on the loop that asked, exactly once, never inside ga_work().
 * The memory is the caller's and must live until done.  There are few helpers, and
 * they take work in order.  Call on that loop, a worker or the main one; work that cannot be awaited when
 * the daemon stops is kept from being lost with ga_hold().
 */
struct ga_work {
	void (*run)(struct ga_work *);
	void (*done)(struct ga_worker *, struct ga_work *);
	struct ga_post post_;			/* private from here on */
	struct ga_worker *worker_;
};
GA_EXPORT void ga_work(struct ga_worker *, struct ga_work *);

/*
 * How many sessions (of any module) a loop carries: new sockets go to the loop
 * with the fewest.  Call with +1/-1 on that loop.
 */
GA_EXPORT void ga_worker_load(struct ga_worker *, int by);

/* Clocks.  now_ms: monotonic, cached per turn of the loop.  wall: real time. */
GA_EXPORT uint64_t ga_wall_ms(void);		/* ms since 1970, any thread */
GA_EXPORT uint64_t ga_mono_us(void);		/* monotonic microseconds, any thread */

/* Random bits: uniform, fast, not for secrets (those: gnutls_rnd).  Any thread. */
GA_EXPORT uint32_t ga_random32(void);

/*
 * The object of a node: GA_CONTAINER(p, struct spool_commit, post).
 */
#define GA_CONTAINER(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

GA_END

#endif
