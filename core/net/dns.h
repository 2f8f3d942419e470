/*
 * dns.h - the core's provider of service "resolver", and its two halves.
 *
 * dns.c: questions and cached answers of each loop.  dns_thread.c: the one thread
 * that speaks with libunbound.  What travels between them is a dns_request.
 */
#ifndef CORE_NET_DNS_H
#define CORE_NET_DNS_H

#include <greenarrow/ga_conf.h>
#include <greenarrow/service/resolver.h>

struct gac_core_conf;

/*
 * init: makes the resolver as `dns_server` says (default: the system's servers)
 * and provides the service; false: err says why.  Main thread, before modules are
 * initialised.  start: its thread.  reload: the servers of this configuration from now
 * on; if they are others, questions under way are asked again.  Main loop.  stop: after the loops ended.
 */
bool gac_dns_init(const struct gac_core_conf *, char *err, size_t errlen);
void gac_dns_start(void);
bool gac_dns_reload(const struct gac_core_conf *, char *err, size_t errlen);
void gac_dns_stop(void);

/* Whatever is being asked on this loop times out now: the daemon ends.  On that loop. */
void gac_dns_give_up(struct ga_worker *);

/* Since the start.  Any thread, while the resolver is up. */
struct gac_dns_counts {
	uint64_t questions;		/* of modules */
	uint64_t resolved;		/* of these, what no loop knew and libunbound answered */
	uint64_t resolve_us;		/* that took, together */
};
struct gac_dns_counts gac_dns_counts(void);

/* How long a question may take (default 10 s).  Before the first question. */
void gac_dns_timeout(uint32_t ms);

/* An answer that several questions share; one loop's at a time. */
struct dns_blob {
	unsigned refs;
	struct ga_dns_answer answer;
};

struct dns_request {
	struct ga_post post;		/* back to the loop that asked */
	struct dns_request *next, **prev;	/* the thread's */
	struct ga_worker *worker;
	unsigned rrtype;
	struct dns_blob *blob;		/* the result, set when posted back */
	char *name;			/* NUL terminated, lower case */
};

/* The thread's side. */
struct ub_ctx;
struct ub_ctx *gac_dns_context(struct ga_strlist servers, char *err, size_t errlen);
bool gac_dns_thread_start(struct ub_ctx *);
/* From now on this context. */
void gac_dns_thread_context(struct ub_ctx *);
/* Any loop.  The request is the thread's until it is posted back. */
void gac_dns_thread_ask(struct dns_request *);
/* Requests not answered are not posted back. */
void gac_dns_thread_stop(void);
void gac_dns_blob_unref(struct dns_blob *);

#endif
