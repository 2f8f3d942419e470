/*
 * inbox.c - a stack that producers push and the owner takes whole, turned over.
 *
 * Order of one producer is kept.  The owner announces that it sleeps, looks once
 * more, then waits on an eventfd; a producer that finds it asleep writes there.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "inbox.h"

int
inbox_init(struct spool_inbox *b)
{
	atomic_init(&b->head, NULL);
	atomic_init(&b->asleep, 0);
	b->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return (b->eventfd == -1 ? errno : 0);
}

void
inbox_fini(struct spool_inbox *b)
{
	close(b->eventfd);
}

void
inbox_wake(struct spool_inbox *b)
{
	uint64_t one = 1;

	/* it can only fail when it is full of wake-ups already */
	if (write(b->eventfd, &one, sizeof one) == -1)
		return;
}

void
inbox_put(struct spool_inbox *b, struct ga_spool_link *op)
{
	struct ga_post *old = atomic_load_explicit(&b->head, memory_order_relaxed);

	do
		op->post.next = old;
	while (!atomic_compare_exchange_weak(&b->head, &old, &op->post));
	if (atomic_load(&b->asleep) && atomic_exchange(&b->asleep, 0))
		inbox_wake(b);
}

struct ga_spool_link *
inbox_take(struct spool_inbox *b)
{
	struct ga_post *p = atomic_exchange(&b->head, NULL), *next, *turned = NULL;

	for (; p != NULL; p = next) {
		next = p->next;
		p->next = turned;
		turned = p;
	}
	return (turned == NULL ? NULL : GA_CONTAINER(turned, struct ga_spool_link, post));
}

void
inbox_sleep(struct spool_inbox *b, int timeout_ms)
{
	struct pollfd fd = { .fd = b->eventfd, .events = POLLIN };
	uint64_t count;

	atomic_store(&b->asleep, 1);
	if (atomic_load(&b->head) == NULL)
		poll(&fd, 1, timeout_ms);
	atomic_store(&b->asleep, 0);
	while (read(b->eventfd, &count, sizeof count) == sizeof count)
		;
}

struct ga_spool_link *
op_next(const struct ga_spool_link *op)
{
	return (op->post.next == NULL ? NULL :
	    GA_CONTAINER(op->post.next, struct ga_spool_link, post));
}

void
op_append(struct op_list *l, struct ga_spool_link *op)
{
	op->post.next = NULL;
	if (l->last == NULL)
		l->first = op;
	else
		l->last->post.next = &op->post;
	l->last = op;
}

struct ga_spool_link *
op_shift(struct op_list *l)
{
	struct ga_spool_link *op = l->first;

	if (op == NULL)
		return (NULL);
	l->first = op_next(op);
	if (l->first == NULL)
		l->last = NULL;
	return (op);
}

void
op_prepend_list(struct op_list *list, struct op_list *what)
{
	if (what->first == NULL)
		return;
	if (list->first == NULL)
		*list = *what;
	else {
		what->last->post.next = &list->first->post;
		list->first = what->first;
	}
	*what = (struct op_list){ NULL, NULL };
}
