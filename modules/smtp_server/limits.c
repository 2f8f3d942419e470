/*
 * limits.c - counting sessions, in all and of each client.
 *
 * Called by accept.c (take) and session.c (give) on any worker loop.  The total is
 * one atomic; clients lie in hash tables behind SMTPD_SHARDS mutexes that are held
 * for a look-up: a connection touches one twice in its life, a message never.
 * Owns an entry for each client that has a session now, none for others, so
 * that memory is bounded by the sessions and not by the addresses seen.
 */
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "guard.h"
#include "limits.h"

struct smtpd_client {
	uint8_t key[16];
	unsigned sessions;
	struct smtpd_shard *shard;
	UT_hash_handle hh;
};

struct smtpd_shard {
	pthread_mutex_t lock;
	struct smtpd_client *clients;
};

void
smtpd_limits_init(struct smtpd_limits *l)
{
	atomic_init(&l->sessions, 0);
	l->shards = ga_xcalloc(SMTPD_SHARDS, sizeof *l->shards);
	for (unsigned i = 0; i < SMTPD_SHARDS; i++)
		pthread_mutex_init(&l->shards[i].lock, NULL);
	l->guard = smtpd_guard_new();
}

void
smtpd_limits_free(struct smtpd_limits *l)
{
	for (unsigned i = 0; i < SMTPD_SHARDS; i++)
		pthread_mutex_destroy(&l->shards[i].lock);
	free(l->shards);
	l->shards = NULL;
	smtpd_guard_free(l->guard);
}

void
smtpd_client_key(const struct ga_sockaddr *a, uint8_t key[16])
{
	memset(key, 0, 16);
	if (a->u.sa.sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&a->u.ss;

		key[10] = key[11] = 0xff;
		memcpy(key + 12, &in->sin_addr, 4);
	} else if (a->u.sa.sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)&a->u.ss;

		memcpy(key, &in6->sin6_addr, IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? 16 : 8);
	}
}

static bool
take_client(struct smtpd_limits *l, const struct ga_sockaddr *a, unsigned max,
    struct smtpd_client **client)
{
	uint8_t key[16];
	struct smtpd_shard *shard;
	struct smtpd_client *c;
	bool ok;

	smtpd_client_key(a, key);
	shard = &l->shards[ga_str_hash((struct ga_str){ (char *)key, sizeof key }, false) %
	    SMTPD_SHARDS];
	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->clients, key, sizeof key, c);
	ok = c == NULL || c->sessions < max;
	if (c == NULL) {
		c = ga_xcalloc(1, sizeof *c);
		memcpy(c->key, key, sizeof key);
		c->shard = shard;
		HASH_ADD(hh, shard->clients, key, sizeof c->key, c);
	}
	if (ok)
		c->sessions++;
	pthread_mutex_unlock(&shard->lock);
	*client = ok ? c : NULL;
	return ok;
}

bool
smtpd_limits_count(struct smtpd_limits *l, const struct ga_sockaddr *a, unsigned max,
    struct smtpd_client **client)
{
	*client = NULL;
	return max == 0 || take_client(l, a, max, client);
}

enum smtpd_slot
smtpd_limits_take(struct smtpd_limits *l, const struct ga_sockaddr *a, unsigned max,
    unsigned per_client, struct smtpd_client **client)
{
	*client = NULL;
	if (atomic_fetch_add(&l->sessions, 1) >= max) {
		atomic_fetch_sub(&l->sessions, 1);
		return SMTPD_SLOT_FULL;
	}
	if (!smtpd_limits_count(l, a, per_client, client)) {
		atomic_fetch_sub(&l->sessions, 1);
		return SMTPD_SLOT_CLIENT;
	}
	return SMTPD_SLOT_OK;
}

void
smtpd_limits_uncount(struct smtpd_client *c)
{
	struct smtpd_shard *shard;

	if (c == NULL)
		return;
	shard = c->shard;
	pthread_mutex_lock(&shard->lock);
	if (--c->sessions == 0) {
		HASH_DEL(shard->clients, c);
		free(c);
	}
	pthread_mutex_unlock(&shard->lock);
}

void
smtpd_limits_give(struct smtpd_limits *l, struct smtpd_client *c)
{
	atomic_fetch_sub(&l->sessions, 1);
	smtpd_limits_uncount(c);
}
