/*
 * body.c - the octets of a message in memory (message.h).
 *
 * Written on one loop while the message arrives, then immutable and shared: the
 * committer and any loop may read it, the last one to let go frees it.
 *
 * The first chunk lies in the same allocation as the body, because most messages
 * are small and live through one malloc; each further chunk is larger than the
 * one before, up to CHUNK_MAX, which stays below malloc's mmap threshold.  The
 * count of `queue_memory` is of what was allocated, not of what was filled: that
 * is what the machine has to have.
 */
#include <stdlib.h>
#include <string.h>

#include <greenarrow/message.h>

enum { FIRST_SIZE = 6 * 1024, SECOND_SIZE = 16 * 1024, CHUNK_MAX = 96 * 1024 };

/* What ga_body_new() allocates: the first chunk's data fills the rest. */
struct first {
	struct ga_body body;
	struct ga_body_chunk chunk;
};

static uint64_t memory_used, memory_limit;

static void count(int64_t by)
{
	__atomic_fetch_add(&memory_used, (uint64_t)by, __ATOMIC_RELAXED);
}

static size_t chunk_size(const struct ga_body_chunk *c)
{
	return sizeof(*c) + c->room;
}

static struct ga_body_chunk *embedded(struct ga_body *b)
{
	return &((struct first *)(void *)b)->chunk;
}

struct ga_body *ga_body_new(void)
{
	struct first *f = ga_xmalloc(FIRST_SIZE);

	f->body = (struct ga_body){ .refs = 1, .nchunks = 1 };
	f->chunk.next = NULL;
	f->chunk.n = 0;
	f->chunk.room = FIRST_SIZE - sizeof(*f);
	f->body.chunks = f->body.last = &f->chunk;
	count(FIRST_SIZE);
	return &f->body;
}

struct ga_body *ga_body_new_spooled(uint64_t size)
{
	struct ga_body *b = ga_xmalloc(sizeof(*b));

	*b = (struct ga_body){ .refs = 1, .size = size };
	return b;
}

static struct ga_body_chunk *new_chunk(struct ga_body *b, size_t want, size_t size)
{
	struct ga_body_chunk *c;

	if (want > SIZE_MAX - sizeof(*c))
		abort();
	if (size < sizeof(*c) + want)
		size = sizeof(*c) + want;
	c = ga_xmalloc(size);
	c->next = NULL;
	c->n = 0;
	c->room = size - sizeof(*c);
	b->nchunks++;
	count((int64_t)size);
	return c;
}

static void add_chunk(struct ga_body *b, size_t want)
{
	size_t size = b->nchunks == 1 ? SECOND_SIZE : chunk_size(b->last) * 2;
	struct ga_body_chunk *c = new_chunk(b, want, size > CHUNK_MAX ? CHUNK_MAX : size);

	b->last->next = c;
	b->last = c;
}

char *ga_body_room(struct ga_body *b, size_t want, size_t *room)
{
	if (b->last == NULL)
		abort();
	if (want == 0)
		want = 1;
	if (b->last->room - b->last->n < want)
		add_chunk(b, want);
	*room = b->last->room - b->last->n;
	return b->last->data + b->last->n;
}

void ga_body_used(struct ga_body *b, size_t n)
{
	if (b->last == NULL || n > b->last->room - b->last->n)
		abort();
	b->last->n += n;
	b->size += n;
}

void ga_body_append(struct ga_body *b, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0) {
		size_t room, part;
		char *to = ga_body_room(b, 1, &room);

		part = n < room ? n : room;
		memcpy(to, from, part);
		ga_body_used(b, part);
		from += part;
		n -= part;
	}
}

/* Moving a few KB costs less than another allocation and another iovec. */
void ga_body_prepend(struct ga_body *b, const void *p, size_t n)
{
	struct ga_body_chunk *c = b->chunks;

	if (c == NULL)
		abort();
	if (n == 0)
		return;
	if (c->room - c->n < n || c->n > FIRST_SIZE) {
		c = new_chunk(b, n, 0);
		c->next = b->chunks;
		b->chunks = c;
	} else {
		memmove(c->data + n, c->data, c->n);
	}
	memcpy(c->data, p, n);
	c->n += n;
	b->size += n;
}

static void free_chunk(struct ga_body *b, struct ga_body_chunk *c)
{
	b->nchunks--;
	if (c == embedded(b))
		return;			/* goes with the body */
	count(-(int64_t)chunk_size(c));
	free(c);
}

/* What the ranges take out of a chunk whose first octet is at offset `at`; moves behind
 * those that end in it. */
static void cut_chunk(struct ga_body_chunk *c, uint64_t at, const struct ga_body_range **r,
    const struct ga_body_range *end)
{
	size_t from = 0, to = 0, had = c->n;

	for (; *r < end && (*r)->at < at + had; ++*r) {
		size_t begins = (*r)->at > at ? (size_t)((*r)->at - at) : 0;
		uint64_t ends = (*r)->at + (*r)->n - at;

		memmove(c->data + to, c->data + from, begins - from);
		to += begins - from;
		from = ends < had ? (size_t)ends : had;
		if (ends > had)
			break;
	}
	memmove(c->data + to, c->data + from, had - from);
	c->n = to + had - from;
}

static void check_ranges(const struct ga_body *b, const struct ga_body_range *r, size_t n)
{
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (r[i].at < at || r[i].at > b->size || r[i].n > b->size - r[i].at)
			abort();
		at = r[i].at + r[i].n;
	}
}

/* The first chunk stays, for a body always has one. */
void ga_body_cut(struct ga_body *b, const struct ga_body_range *r, size_t n)
{
	struct ga_body_chunk *c = b->chunks, *before = NULL, *next;
	const struct ga_body_range *end = r + n;
	uint64_t at = 0;

	if (c == NULL)
		abort();
	check_ranges(b, r, n);
	for (; c != NULL && r < end; c = next) {
		size_t had = c->n;

		next = c->next;
		cut_chunk(c, at, &r, end);
		at += had;
		b->size -= had - c->n;
		if (c->n > 0 || c->n == had || before == NULL) {
			before = c;
			continue;
		}
		before->next = next;
		if (b->last == c)
			b->last = before;
		free_chunk(b, c);
	}
}

struct ga_body *ga_body_ref(struct ga_body *b)
{
	__atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void ga_body_unref(struct ga_body *b)
{
	struct ga_body_chunk *c, *next;
	int64_t freed = FIRST_SIZE;

	if (b == NULL || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (b->chunks == NULL) {
		free(b);
		return;
	}
	for (c = b->chunks; c != NULL; c = next) {
		next = c->next;
		if (c == embedded(b))
			continue;
		freed += (int64_t)chunk_size(c);
		free(c);
	}
	free(b);
	count(-freed);
}

struct ga_str ga_body_flat(const struct ga_body *b, struct ga_pool *pool)
{
	const struct ga_body_chunk *c;
	size_t n = 0;
	char *to;

	for (c = b->chunks; c != NULL; c = c->next)
		n += c->n;
	to = ga_alloc(pool, n + 1);
	n = 0;
	for (c = b->chunks; c != NULL; c = c->next) {
		memcpy(to + n, c->data, c->n);
		n += c->n;
	}
	return (struct ga_str){ to, n };
}

uint64_t ga_body_memory(void)
{
	return __atomic_load_n(&memory_used, __ATOMIC_RELAXED);
}

void ga_body_memory_limit(uint64_t limit)
{
	__atomic_store_n(&memory_limit, limit, __ATOMIC_RELAXED);
}

bool ga_body_memory_full(void)
{
	uint64_t limit = __atomic_load_n(&memory_limit, __ATOMIC_RELAXED);

	return limit > 0 && ga_body_memory() >= limit;
}
