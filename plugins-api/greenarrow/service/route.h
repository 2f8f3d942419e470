/*
 * route.h - service "router": where an envelope goes next.  Level strict.
 *
 * Asked by the queue at every attempt.  The answer is an immutable, reference
 * counted route that any loop may read: the VirtualMTA chosen, its source
 * addresses, the hosts to try in groups of equal preference, the throttle group
 * and the settings of VirtualMTA x domain.  Routes are cached by the router (per
 * snapshot, VirtualMTA and domain, no longer than the DNS TTLs), so a reload or
 * a changed zone acts on the next attempt.
 */
#ifndef GREENARROW_SERVICE_ROUTE_H
#define GREENARROW_SERVICE_ROUTE_H

#include <greenarrow/conf.h>
#include <greenarrow/message.h>
#include <greenarrow/net.h>
#include <greenarrow/run.h>
#include <greenarrow/service/explain.h>

GA_BEGIN

#define GA_ROUTER_SERVICE "router"
#define GA_ROUTER_VERSION 2

/* One host to try: a name (as the MX said; for an implicit MX the domain, for a
 * static next hop what was written) and its addresses. */
struct ga_route_host {
	struct ga_str name;			/* lower case, no trailing dot */
	uint16_t preference;
	uint16_t naddresses;
	const struct ga_sockaddr *addresses;	/* with port */
	const char *why_none;			/* when naddresses is 0: for the log */
};

/* `smtp_source IP HOSTNAME`: one a family. */
struct ga_route_source {
	struct ga_sockaddr address;		/* len 0: the system chooses */
	struct ga_str hostname;			/* for EHLO */
};

enum ga_route_kind {
	GA_ROUTE_DELIVER,
	GA_ROUTE_DEFER,		/* reply/enhanced/text say why (DNS trouble, no address now) */
	GA_ROUTE_FAIL,		/* for good (NXDOMAIN 5.1.2, null MX 5.1.10 ...) */
	GA_ROUTE_PAUSED,	/* delivery_paused: hold, neither attempt nor deferral */
	GA_ROUTE_DISCARD	/* delivery_override discard: over, as a success, unsent */
};

struct ga_group;		/* the throttle's */

struct ga_route {
	uint32_t refs;				/* atomic */
	enum ga_route_kind kind;
	unsigned code;				/* DEFER, FAIL: like a reply's */
	const char *enhanced, *text;
	const char *cause;			/* the directive that decided so; NULL: DNS did */
	struct ga_snapshot *snapshot;		/* one reference */
	const struct ga_settings *settings;	/* VirtualMTA x domain, MX known */
	struct ga_str domain;			/* recipient domain */
	struct ga_str virtual_mta;		/* the ip_address or relay_server used */
	uint32_t mta_id;			/* its mta_id ("outmtaid") */
	bool relay;				/* a relay_server: credentials and TLS are its own */
	const struct ga_object *mta;		/* its block, NULL when none is configured */
	struct ga_route_source v4, v6;
	struct ga_str group_key;		/* "ip2pd7" "2,example.com" "relay5" */
	uint32_t hash;				/* of group_key */
	uint32_t nhosts;
	const struct ga_route_host *hosts;	/* by preference; equal ones are shuffled
						   by whoever tries them */
	uint64_t expires_ms;			/* monotonic: not to be used from the cache after */
	struct ga_group *group;			/* atomic; set by the throttle on first use, with
						   a reference that free_ gives back to it */
	void (*free_)(struct ga_route *);
};
static inline struct ga_route *
ga_route_ref(struct ga_route *r)
{
	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}
/* Any thread; NULL is fine. */
static inline void
ga_route_unref(struct ga_route *r)
{
	if (r != NULL && __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) == 0)
		r->free_(r);
}

/* The question; caller's memory until cb. */
struct ga_route_request {
	struct ga_str virtual_mta;		/* the message's; "" = default */
	struct ga_str domain;			/* lower case, A-label; or a literal "[...]" */
	uint64_t message_key;			/* for randomization message: the message's */
	uint64_t address_key;			/* for randomization address: the recipient's, in every message */
	uint64_t envelope_id;			/* for logs and the route hook */
	struct ga_route *route;			/* result: one reference, never NULL */
	uint32_t assigned_mta_id;		/* result: number of the VirtualMTA that virtual_mta names
						   (a routing_rule's own), or of the default */
	void (*cb)(struct ga_worker *, struct ga_route_request *);
	void *arg;
	void *private_;
};

/* A question of `greenarrow explain`; the asker's until cb. */
struct ga_route_question {
	struct ga_post post;			/* private to the router */
	struct ga_worker *asker;
	struct ga_str virtual_mta, domain;	/* as in ga_route_request; copied by nobody */
	uint64_t message_key, address_key;
	struct json_object *facts;		/* the asker's reference */
	struct ga_route *route;			/* result: one reference, never NULL */
	void (*cb)(struct ga_worker *asker, struct ga_route_question *);
	void *arg;
	void *private_;
};

struct ga_router {
	uint32_t size, version;
	/* On a loop.  True: the answer is in ->route already and cb will not be
	 * called (a cached route: the common case).  False: cb comes later. */
	bool (*route)(struct ga_worker *, struct ga_route_request *);
	/* Version 2.  The same with reasons: the VirtualMTA and how it was chosen, hosts and
	 * addresses and what was left out, TLS policy, the rule of the throttle group, each with
	 * its file:line.  Any loop. */
	void (*explain)(struct ga_route_question *);
	/* Whether there is a VirtualMTA of that name or number.  Any thread. */
	bool (*known)(struct ga_snapshot *, struct ga_str name);
};

GA_END

#endif
