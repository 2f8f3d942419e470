/*
 * mem.c - pools, and allocation that ends the process instead of failing.
 *
 * Implements ga_mem.h.  A pool is a chain of blocks that are bumped through and
 * freed as a whole; objects larger than a quarter of a block get a block of
 * their own.  Under AddressSanitizer, or with GA_POOL_DEBUG, every object is a
 * malloc of its own, so that an overrun or a use after free is seen.
 *
 * Used by everybody, on any thread; a pool itself belongs to one thread at a
 * time.  An MTA that cannot allocate cannot keep its promises: abort() leaves
 * the spool as it was, which is what recovery is made for.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <greenarrow/ga_mem.h>

#if defined(__SANITIZE_ADDRESS__) || defined(GA_POOL_DEBUG)
#define POOL_SEPARATE 1
#else
#define POOL_SEPARATE 0
#endif

#define POOL_DEFAULT 1024
#define POOL_MAX_BLOCK 65536
#define POOL_ALIGN _Alignof(max_align_t)

struct pool_block {
	struct pool_block *next;
	size_t size, used;
	_Alignas(max_align_t) char data[];
};

struct pool_cleanup {
	struct pool_cleanup *next;
	void (*fn)(void *);
	void *arg;
};

struct ga_pool {
	struct pool_block *blocks;	/* newest first; the first one made is kept by reset */
	struct pool_cleanup *cleanups;
	size_t next_size;
};

static void
out_of_memory(size_t n)
{
	char line[80];
	int len = snprintf(line, sizeof line, "out of memory: %zu octets\n", n);
	ssize_t ignored = write(STDERR_FILENO, line, (size_t)len);

	(void)ignored;
	abort();
}

void *
ga_xmalloc(size_t n)
{
	void *p = malloc(n > 0 ? n : 1);

	if (p == NULL)
		out_of_memory(n);
	return p;
}

void *
ga_xcalloc(size_t n, size_t size)
{
	void *p = calloc(n > 0 ? n : 1, size > 0 ? size : 1);

	if (p == NULL)
		out_of_memory(n * size);
	return p;
}

void *
ga_xrealloc(void *old, size_t n)
{
	void *p = realloc(old, n > 0 ? n : 1);

	if (p == NULL)
		out_of_memory(n);
	return p;
}

static struct pool_block *
new_block(struct ga_pool *pool, size_t size)
{
	struct pool_block *b = ga_xmalloc(sizeof *b + size);

	b->size = size;
	b->used = 0;
	b->next = pool->blocks;
	pool->blocks = b;
	return b;
}

struct ga_pool *
ga_pool_new(size_t hint)
{
	struct ga_pool *pool = ga_xcalloc(1, sizeof *pool);

	pool->next_size = hint > 0 ? hint : POOL_DEFAULT;
	return pool;
}

static void
run_cleanups(struct ga_pool *pool)
{
	struct pool_cleanup *c;

	while ((c = pool->cleanups) != NULL) {
		pool->cleanups = c->next;
		c->fn(c->arg);
	}
}

static void
free_blocks(struct ga_pool *pool, struct pool_block *keep)
{
	struct pool_block *b;

	while ((b = pool->blocks) != NULL && b != keep) {
		pool->blocks = b->next;
		free(b);
	}
}

void
ga_pool_free(struct ga_pool *pool)
{
	if (pool == NULL)
		return;
	run_cleanups(pool);
	free_blocks(pool, NULL);
	free(pool);
}

void
ga_pool_reset(struct ga_pool *pool)
{
	struct pool_block *first = pool->blocks;

	run_cleanups(pool);
	if (POOL_SEPARATE || first == NULL) {
		free_blocks(pool, NULL);
		return;
	}
	while (first->next != NULL)
		first = first->next;
	free_blocks(pool, first);
	first->used = 0;
}

void *
ga_alloc(struct ga_pool *pool, size_t n)
{
	struct pool_block *b = pool->blocks;
	void *p;

	if (n > SIZE_MAX / 2)
		out_of_memory(n);
	if (POOL_SEPARATE) {
		b = new_block(pool, n);
		b->used = n;
		return memset(b->data, 0, n);
	}
	n = (n + POOL_ALIGN - 1) & ~(size_t)(POOL_ALIGN - 1);
	if (b == NULL || b->size - b->used < n) {
		b = new_block(pool, n > pool->next_size ? n : pool->next_size);
		if (pool->next_size < POOL_MAX_BLOCK)
			pool->next_size *= 2;
	}
	p = b->data + b->used;
	b->used += n;
	return memset(p, 0, n);
}

struct ga_str
ga_dup(struct ga_pool *pool, struct ga_str s)
{
	char *p = ga_alloc(pool, s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return (struct ga_str){ p, s.n };
}

struct ga_str
ga_fmt(struct ga_pool *pool, const char *fmt, ...)
{
	va_list ap, again;
	char *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	p = ga_alloc(pool, (size_t)n + 1);
	vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return (struct ga_str){ p, (size_t)n };
}

const char *
ga_cstr(struct ga_pool *pool, struct ga_str s)
{
	if (s.n > 0 && memchr(s.p, '\0', s.n) != NULL)
		return NULL;
	return ga_dup(pool, s).p;
}

void
ga_on_free(struct ga_pool *pool, void (*fn)(void *), void *arg)
{
	struct pool_cleanup *c = ga_alloc(pool, sizeof *c);

	c->fn = fn;
	c->arg = arg;
	c->next = pool->cleanups;
	pool->cleanups = c;
}
