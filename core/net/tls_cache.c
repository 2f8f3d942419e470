/*
 * tls_cache.c - TLS sessions that a loop may resume with servers.
 *
 * Called by stream_tls.c: recall before a handshake, remember when a connection
 * closes (TLS 1.3 tickets come after the handshake).  Each loop has a cache of
 * its own, so there is no lock; it goes with the thread.  A session is a few KB
 * and is kept an hour at most, SESSIONS_MAX of them a loop.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <greenarrow/loop.h>

#include "net/tls.h"

enum { SESSIONS_MAX = 1024, BUCKETS = 512 };
static const uint64_t max_age_us = UINT64_C(3600) * 1000 * 1000;

struct session {
	TAILQ_ENTRY(session) lru;
	LIST_ENTRY(session) bucket;
	uint64_t since_us;
	gnutls_datum_t data;
	size_t n;
	char key[];
};

struct cache {
	TAILQ_HEAD(lru_head_, session) lru;	/* first: used last */
	LIST_HEAD(, session) bucket[BUCKETS];
	unsigned count;
};

static pthread_key_t cache_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void drop(struct cache *c, struct session *s)
{
	TAILQ_REMOVE(&c->lru, s, lru);
	LIST_REMOVE(s, bucket);
	c->count--;
	gnutls_memset(s->data.data, 0, s->data.size);
	gnutls_free(s->data.data);
	free(s);
}

static void free_cache(void *arg)
{
	struct cache *c = arg;

	while (!TAILQ_EMPTY(&c->lru))
		drop(c, TAILQ_FIRST(&c->lru));
	free(c);
}

static void make_key(void)
{
	if (pthread_key_create(&cache_key, free_cache) != 0)
		abort();
}

static struct cache *mine(void)
{
	struct cache *c;

	pthread_once(&once, make_key);
	c = pthread_getspecific(cache_key);
	if (c != NULL)
		return c;
	c = ga_xcalloc(1, sizeof(*c));
	TAILQ_INIT(&c->lru);
	if (pthread_setspecific(cache_key, c) != 0)
		abort();
	return c;
}

static struct session *find(struct cache *c, struct ga_str key)
{
	struct session *s;

	LIST_FOREACH(s, &c->bucket[ga_str_hash(key, false) % BUCKETS], bucket)
		if (s->n == key.n && memcmp(s->key, key.p, key.n) == 0)
			return s;
	return NULL;
}

void gac_tls_remember(struct ga_str key, gnutls_session_t session)
{
	struct cache *c = mine();
	struct session *s = find(c, key);
	gnutls_datum_t data;

	if (gnutls_session_get_data2(session, &data) < 0)
		return;
	if (s != NULL)
		drop(c, s);
	else if (c->count == SESSIONS_MAX)
		drop(c, TAILQ_LAST(&c->lru, lru_head_));
	s = ga_xcalloc(1, sizeof(*s) + key.n);
	s->data = data;
	s->since_us = ga_mono_us();
	s->n = key.n;
	memcpy(s->key, key.p, key.n);
	TAILQ_INSERT_HEAD(&c->lru, s, lru);
	LIST_INSERT_HEAD(&c->bucket[ga_str_hash(key, false) % BUCKETS], s, bucket);
	c->count++;
}

void gac_tls_recall(struct ga_str key, gnutls_session_t session)
{
	struct cache *c = mine();
	struct session *s = find(c, key);

	if (s == NULL)
		return;
	if (ga_mono_us() - s->since_us > max_age_us ||
	    gnutls_session_set_data(session, s->data.data, s->data.size) < 0) {
		drop(c, s);
		return;
	}
	TAILQ_REMOVE(&c->lru, s, lru);
	TAILQ_INSERT_HEAD(&c->lru, s, lru);
}
