/*
 * limits.h - how many sessions a service has, in all and of each client.
 *
 * Exact, from any loop.  A client is an IPv4 address or an IPv6 /64, which is what
 * one customer of a provider gets.
 */
#ifndef SMTPD_LIMITS_H
#define SMTPD_LIMITS_H

#include <stdatomic.h>

#include <greenarrow/net.h>

#define SMTPD_SHARDS 16u		/* power of two: mutexes that clients are spread over */

/* What a client is known by: IPv4 as ::ffff:a.b.c.d, IPv6 without its last 64 bits. */
void smtpd_client_key(const struct ga_sockaddr *, uint8_t key[16]);

struct smtpd_client;			/* one client that has sessions */
struct smtpd_shard;
struct smtpd_limits {
	atomic_uint sessions;
	struct smtpd_shard *shards;	/* SMTPD_SHARDS of them */
	struct smtpd_guard *guard;	/* who failed to authenticate: guard.h */
};

enum smtpd_slot { SMTPD_SLOT_OK, SMTPD_SLOT_FULL, SMTPD_SLOT_CLIENT };

void smtpd_limits_init(struct smtpd_limits *);
void smtpd_limits_free(struct smtpd_limits *);
/* Takes a slot.  per_client 0: that client is not counted, *client stays NULL. */
enum smtpd_slot smtpd_limits_take(struct smtpd_limits *, const struct ga_sockaddr *,
    unsigned max, unsigned per_client, struct smtpd_client **client);
/* Gives back what a successful take() took. */
void smtpd_limits_give(struct smtpd_limits *, struct smtpd_client *);
/* Counts a session that has a slot for this client too; false: it has max already.  max 0: *client
 * is NULL. */
bool smtpd_limits_count(struct smtpd_limits *, const struct ga_sockaddr *, unsigned max,
    struct smtpd_client **client);
/* Counts that session for its client no more, but still in all. */
void smtpd_limits_uncount(struct smtpd_client *);

#endif
