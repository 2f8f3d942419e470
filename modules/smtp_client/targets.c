/*
 * targets.c - which hosts and addresses are tried, in which order.
 *
 * Called by conn.c when a connection begins.  Hosts go by preference, hosts of
 * equal preference in random order (RFC 5321 5.1), all addresses of a host one
 * after the other.  A family for which the VirtualMTA has no source address is
 * left out when it has one for the other family.  Pure but for ga_random32().
 * Of a route with more than 256 hosts only the first 256 are looked at.
 */
#include "client.h"

#define HOSTS_MAX 256

static bool
family_usable(const struct ga_route *r, int family)
{
	if (r->v4.address.len == 0 && r->v6.address.len == 0)
		return true;
	return family == AF_INET6 ? r->v6.address.len != 0 : r->v4.address.len != 0;
}

static void
shuffle(uint16_t *v, size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t j = ga_random32() % i;
		uint16_t t = v[i - 1];

		v[i - 1] = v[j];
		v[j] = t;
	}
}

/* Indices of hosts, equal preferences shuffled; how many. */
static size_t
host_order(const struct ga_route *r, uint16_t order[HOSTS_MAX])
{
	size_t n = r->nhosts < HOSTS_MAX ? r->nhosts : HOSTS_MAX;

	for (size_t i = 0; i < n; i++)
		order[i] = (uint16_t)i;
	for (size_t from = 0, to; from < n; from = to) {
		to = from + 1;
		while (to < n && r->hosts[to].preference == r->hosts[from].preference)
			to++;
		shuffle(order + from, to - from);
	}
	return n;
}

unsigned
smtpc_targets(const struct ga_route *r, unsigned max, struct smtpc_target *targets)
{
	uint16_t order[HOSTS_MAX];
	size_t nhosts = host_order(r, order);
	unsigned n = 0;

	if (max > SMTPC_TARGETS)
		max = SMTPC_TARGETS;
	for (size_t i = 0; i < nhosts; i++) {
		const struct ga_route_host *h = &r->hosts[order[i]];

		for (uint16_t a = 0; a < h->naddresses && n < max; a++)
			if (family_usable(r, h->addresses[a].u.sa.sa_family))
				targets[n++] = (struct smtpc_target){ order[i], a };
	}
	return n;
}
