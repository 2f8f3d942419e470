/*
 * guard.c - failed AUTH of each client, over its sessions.
 *
 * Called by cmd_auth.c on any worker loop: once an AUTH, so one lock is enough.  Owns an
 * entry for each client that failed in the last WINDOW_MS, at most CLIENTS_MAX: whoever
 * has more addresses than that is stopped by the limit of a session alone.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "guard.h"
#include "limits.h"

#define WINDOW_MS (10u * 60u * 1000u)
#define CLIENTS_MAX 65536u

struct failures {
	uint8_t key[16];
	unsigned count;
	uint64_t since_ms;
	UT_hash_handle hh;
};

struct smtpd_guard {
	pthread_mutex_t lock;
	struct failures *clients;
};

struct smtpd_guard *
smtpd_guard_new(void)
{
	struct smtpd_guard *g = ga_xcalloc(1, sizeof *g);

	pthread_mutex_init(&g->lock, NULL);
	return g;
}

static void
forget(struct smtpd_guard *g, struct failures *f)
{
	HASH_DEL(g->clients, f);
	free(f);
}

void
smtpd_guard_free(struct smtpd_guard *g)
{
	struct failures *f, *next;

	HASH_ITER(hh, g->clients, f, next)
		forget(g, f);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* The entry in force, NULL: none. */
static struct failures *
find(struct smtpd_guard *g, const struct ga_sockaddr *a, uint64_t now_ms)
{
	uint8_t key[16];
	struct failures *f;

	smtpd_client_key(a, key);
	HASH_FIND(hh, g->clients, key, sizeof key, f);
	if (f == NULL || now_ms - f->since_ms < WINDOW_MS)
		return f;
	forget(g, f);
	return NULL;
}

bool
smtpd_guard_allows(struct smtpd_guard *g, const struct ga_sockaddr *a, unsigned max,
    uint64_t now_ms)
{
	struct failures *f;
	bool allows;

	pthread_mutex_lock(&g->lock);
	f = find(g, a, now_ms);
	allows = max == 0 || f == NULL || f->count < max;
	pthread_mutex_unlock(&g->lock);
	return allows;
}

static void
make_room(struct smtpd_guard *g, uint64_t now_ms)
{
	struct failures *f, *next;

	if (HASH_COUNT(g->clients) < CLIENTS_MAX)
		return;
	HASH_ITER(hh, g->clients, f, next)
		if (now_ms - f->since_ms >= WINDOW_MS)
			forget(g, f);
	/* the oldest goes: uthash keeps the order of arrival */
	if (HASH_COUNT(g->clients) >= CLIENTS_MAX)
		forget(g, g->clients);
}

void
smtpd_guard_failed(struct smtpd_guard *g, const struct ga_sockaddr *a, uint64_t now_ms)
{
	struct failures *f;

	pthread_mutex_lock(&g->lock);
	f = find(g, a, now_ms);
	if (f == NULL) {
		make_room(g, now_ms);
		f = ga_xcalloc(1, sizeof *f);
		smtpd_client_key(a, f->key);
		f->since_ms = now_ms;
		HASH_ADD(hh, g->clients, key, sizeof f->key, f);
	}
	f->count++;
	pthread_mutex_unlock(&g->lock);
}
