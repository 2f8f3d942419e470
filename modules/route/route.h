/*
 * route.h - the parts of the router; for the files of this folder.
 */
#ifndef ROUTE_H
#define ROUTE_H

#define GA_LEVEL GA_ABI_STRICT
#include <sys/queue.h>

#include <uthash.h>

#include <greenarrow/service/delivery.h>
#include <greenarrow/service/resolver.h>
#include <greenarrow/service/route.h>

#define ROUTE_DIRECTIVES(X)									\
	X(string, default_virtual_mta, "", "is=virtual_mta", "general",				\
	    "VirtualMTA of a message that names none or one that does not exist")		\
	X(int, mta_id, "",  "min=1 once unique", "ip_address,relay_server,routing_rule",	\
	    "Number of this VirtualMTA, for reports and the keys of throttle groups")		\
	X(table, smtp_source, "", "words=1-2 is=ip,host repeat", "ip_address,relay_server",			\
	    "Source IP, and the host name to say in EHLO; once for IPv4 and once for IPv6")	\
	X(flag, delivery_paused, "no", "", "ip_address,relay_server",				\
	    "Hold the mail of this VirtualMTA: no attempts, no deferrals")			\
	X(string, redirect, "", "is=virtual_mta once", "ip_address,relay_server",		\
	    "Send this VirtualMTA's mail through another one")					\
	X(string, destination, "", "once required", "relay_server",				\
	    "The relay: HOST or HOST:PORT")							\
	X(int, port, "25", "min=1 max=65535", "relay_server", "Port of the relay")		\
	X(table, deliver_through, "", "words=1-2 route", "routing_rule,domain",				\
	    "VirtualMTAs and their shares: NAME WEIGHT, ...")					\
	X(choice, randomization, "attempt", "oneof=attempt|message|address route", "routing_rule,domain",	\
	    "Draw anew for each attempt, or keep the choice for a message or an address")	\
	X(list, smtp_route, "", "route", "domain,ip_address",					\
	    "Next hops in place of MX records: HOST or HOST:PORT, tried in this order")		\
	X(int, id, "", "min=1 unique_in_block", "domain,rule",				\
	    "Number of this rule in the keys of throttle groups; default: assigned, and kept")	\
	X(choice, delivery_override, "no", "oneof=no|discard|defer|bounce route", "domain,ip_address,relay_server", \
	    "Decides without SMTP: unsent as if delivered, tried again later, or returned to the sender") \
	X(string, delivery_override_text, "", "min=1 max=400", "domain,ip_address,relay_server",	\
	    "What a reply of delivery_override says")						\
	X(list, mx_blacklist, "", "is=host_or_cidr repeat", "general,ip_address,domain",		\
	    "MX hosts (HOST, *.DOMAIN) and addresses (IP, CIDR) that are never connected to")	\
	X(flag, allow_loopback_mx, "no", "", "general",					\
	    "Deliver to MX hosts whose address is a loopback address")

GA_CONF_STRUCT(route_conf, ROUTE_DIRECTIVES);

/* The VirtualMTA that an attempt goes through. */
struct rt_mta {
	const struct ga_object *object;		/* NULL: none is configured */
	struct ga_str name;
	uint32_t id;
	bool relay, paused;
	uint32_t assigned_id;			/* of the name it was asked for: not behind rules and redirects */
};

/* A domain on its way to a route; and the routes that are known. */
struct rt_entry {
	UT_hash_handle hh;
	struct ga_route *route;			/* NULL: being looked up */
	struct ga_route_request *waiting, *waiting_last;
	bool asked;
	bool gone;				/* a reload took it out while it was looked up */
	size_t nkey;
	char key[];				/* name of the VirtualMTA NUL domain */
};

struct rt_found {			/* a look-up under way */
	struct rt_loop *loop;
	struct rt_entry *entry;
	struct rt_lookup *lookup;
	struct rt_found *next, **prev;		/* all of the loop */
};
struct rt_old;				/* forget.c */
struct rt_rest;				/* route.c */
#define RT_ANSWER_SLICE 200		/* of those who waited for one route, in one go */

struct rt_loop {
	struct ga_worker *worker;
	struct ga_snapshot *snapshot;		/* the one the entries are of */
	struct rt_entry *entries;		/* oldest first */
	const struct ga_resolver *resolver;
	struct rt_found *asking;		/* look-ups under way */
	struct rt_wait *waits;			/* requests that wait for a look-up or a module */
	LIST_HEAD(, rt_rest) rests;		/* requests that are being answered */
	LIST_HEAD(, rt_old) olds;		/* entries of other snapshots */
};

/* What a request waits with. */
struct rt_wait {
	struct ga_route_request *next, *request;
	struct rt_wait *after, **prev;		/* all of the loop */
	struct ga_run run;			/* the route hook */
	struct ga_ev_route ev;
	struct ga_route *route;
	char mta[208];				/* the hook's choice */
	unsigned hops;
};

extern struct ga_inst *rt_inst;

/* forget.c: entries that a reload has made worthless */
void rt_forget_all(struct rt_loop *);
void rt_forget_stop(struct rt_loop *);
/* number.c: numbers of VirtualMTAs and rules, given or made from their names. */
uint32_t rt_number_mta(struct ga_snapshot *, const struct ga_object *);
uint32_t rt_number_rule(struct ga_snapshot *, const struct ga_object *);
/* The domain block or template's rule whose limits make the throttle group; NULL: none. limit:
 * one that it sets. */
const struct ga_object *rt_number_limiting(const struct ga_settings *, const char **limit);
/* "tt" for what stands in a throttle_template, else "pd". */
const char *rt_number_kind(const struct ga_object *rule);
bool rt_number_check(struct ga_snapshot *, struct ga_diag *);

/* mta.c: VirtualMTA by name, through routing rules and redirects.  facts: how, or NULL. */
struct rt_mta rt_mta_choose(struct ga_snapshot *, struct ga_str name,
    const struct ga_route_request *, struct json_object *facts);
bool rt_mta_check(struct ga_snapshot *, struct ga_diag *);
/* By name or number. */
bool rt_mta_known(struct ga_snapshot *, struct ga_str name);
/* smtp_source of a VirtualMTA, per family; len 0: none. */
void rt_mta_sources(struct ga_snapshot *, const struct rt_mta *, struct ga_pool *,
    struct ga_route_source *v4, struct ga_route_source *v6);

/* build.c: a route is put together in its own pool. */
struct rt_draft {
	struct ga_pool *pool;
	struct ga_route *route;
	struct ga_route_host *hosts;
	unsigned nhosts, room;
	uint32_t ttl;				/* seconds, least of all that was used */
};
void rt_draft_begin(struct rt_draft *, struct ga_snapshot *, const struct rt_mta *,
    struct ga_str domain);
struct ga_route_host *rt_draft_host(struct rt_draft *, struct ga_str name, uint16_t preference);
void rt_draft_address(struct rt_draft *, struct ga_route_host *, const struct ga_sockaddr *);
void rt_draft_ttl(struct rt_draft *, uint32_t ttl);
/* Settings with MX names known, group key, expiry. */
struct ga_route *rt_draft_deliver(struct rt_draft *);
struct ga_route *rt_draft_refuse(struct rt_draft *, enum ga_route_kind, unsigned code,
    const char *enhanced, const char *fmt, ...) GA_PRINTF(5, 6);

/* lookup.c: fills a draft from DNS or from what is written.  done is called once;
 * inside the call when nothing had to be asked. */
struct rt_lookup;
typedef void rt_lookup_fn(void *arg, struct ga_route *);
/* NULL: it was done inside the call. */
struct rt_lookup *rt_lookup_start(struct rt_loop *, struct ga_snapshot *, const struct rt_mta *,
    struct ga_str domain, rt_lookup_fn *done, void *arg);
/* The loop has ended: no answer comes any more. */
void rt_lookup_free(struct rt_lookup *);

/* explain.c */
void rt_explain(struct ga_route_question *);
void rt_explain_stop(struct rt_loop *);
void rt_explain_end(void);

/* blacklist.c: mx_blacklist */
bool rt_blacklisted_host(struct ga_strlist, struct ga_str name);
bool rt_blacklisted_address(struct ga_strlist, const struct ga_sockaddr *);

/* own.c: is this address ours? */
void rt_own_init(void);
void rt_own_free(void);
bool rt_own_address(const struct ga_sockaddr *);
bool rt_have_ipv6(void);

#endif
