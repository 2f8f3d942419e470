/*
 * inbox.h - how requests reach a thread of the spool from any loop.
 *
 * Many put, one takes.  Putting neither locks nor allocates and makes a system
 * call only when the taker sleeps.  Nodes are the requests' own.
 */
#ifndef SPOOL_INBOX_H
#define SPOOL_INBOX_H

#include <stdatomic.h>

#include <greenarrow/service/spool.h>

struct spool_inbox {
	_Atomic(struct ga_post *) head;		/* newest first */
	atomic_int asleep;
	int eventfd;
};

int inbox_init(struct spool_inbox *);		/* 0 or an errno */
void inbox_fini(struct spool_inbox *);
void inbox_put(struct spool_inbox *, struct ga_spool_link *);
/* All that is there, oldest first, linked through post.next; NULL if nothing. */
struct ga_spool_link *inbox_take(struct spool_inbox *);
/* Until something was put, inbox_wake() was called, or the time is over (-1: never). */
void inbox_sleep(struct spool_inbox *, int timeout_ms);
void inbox_wake(struct spool_inbox *);

/* A list of requests in order; committer and maintenance thread keep theirs in these. */
struct op_list {
	struct ga_spool_link *first, *last;
};
void op_append(struct op_list *, struct ga_spool_link *);
struct ga_spool_link *op_shift(struct op_list *);
struct ga_spool_link *op_next(const struct ga_spool_link *);
/* what goes in front of list. */
void op_prepend_list(struct op_list *list, struct op_list *what);

#endif
