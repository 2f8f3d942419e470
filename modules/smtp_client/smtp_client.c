/*
 * smtp_client.c - the module: SMTP out.
 *
 * Provides service "delivery": the throttle gives it batches (tickets of one
 * message on one route), it opens or reuses connections through a "transport",
 * speaks SMTP and ends each ticket with one result.  Everything runs on the loop
 * of the throttle group; this file keeps the state of each loop and its end: a
 * drain lets transactions finish until its deadline, then recalls what has not
 * been sent and defers what was sent but not answered.
 */
#define GA_LEVEL GA_ABI_STRICT
#include "client.h"

#include <stdlib.h>

#include <greenarrow/ga_module.h>

/* Before the core's own deadline, so that what is aborted still gets home. */
#define DRAIN_MARGIN_MS 1000
#define HOUR_MS 3600000u

struct smtpc_module smtpc;

struct smtpc_loop *
smtpc_loop(struct ga_worker *w)
{
	return ga_worker_state(smtpc.inst, w);
}

/* --- service "delivery" --- */

static void
delivery_open(struct ga_group *group, struct ga_worker *w, struct ga_batch batch)
{
	smtpc_conn_open(smtpc_loop(w), group, batch);
}

static const struct ga_delivery delivery = {
	.size = sizeof(struct ga_delivery),
	.version = GA_DELIVERY_VERSION,
	.offer = smtpc_offer_batch,
	.open = delivery_open,
	.close_idle = smtpc_close_idle,
	.stats = smtpc_stats,
	.explain = smtpc_explain,
	.saved = smtpc_saved,
};

/* --- life --- */

static bool
client_init(struct ga_inst *inst, const void *conf)
{
	smtpc.inst = inst;
	ga_service_provide(inst, GA_DELIVERY_SERVICE, GA_DELIVERY_VERSION, &delivery);
	smtpc_report_init(inst);
	return true;
}

static bool
client_start(struct ga_inst *inst, struct ga_worker *w)
{
	struct smtpc_loop *l = ga_worker_state(inst, w);
	const struct ga_spool *spool = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	const struct ga_throttle *throttle = ga_service_get(GA_THROTTLE_SERVICE,
	    GA_THROTTLE_VERSION);

	if (spool == NULL || throttle == NULL) {
		ga_log(inst, GA_ERR, "GA-SMC-0005", "no module provides service \"%s\"",
		    spool == NULL ? GA_SPOOL_SERVICE : GA_THROTTLE_SERVICE);
		return false;
	}
	/* Every loop stores the same pointers. */
	__atomic_store_n(&smtpc.spool, spool, __ATOMIC_RELAXED);
	__atomic_store_n(&smtpc.throttle, throttle, __ATOMIC_RELAXED);
	l->worker = w;
	TAILQ_INIT(&l->all);
	LIST_INIT(&l->objects);
	LIST_INIT(&l->dones);
	LIST_INIT(&l->free_dones);
	LIST_INIT(&l->cursors);
	smtpc_saved_init(l);
	l->scratch = ga_xmalloc(SMTPC_SCRATCH);
	return true;
}

void
smtpc_drain_check(struct smtpc_loop *l)
{
	if (l->hold == NULL || !LIST_EMPTY(&l->objects))
		return;
	ga_timer_free(l->drain_timer);
	l->drain_timer = NULL;
	ga_unhold(l->hold);
	l->hold = NULL;
}

static void
abort_all(struct smtpc_loop *l)
{
	struct smtpc_conn *c, *next;

	for (c = TAILQ_FIRST(&l->all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		smtpc_conn_abort(c);
	}
}

static void
drain_over(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	abort_all(arg);
}

/* What is not in a transaction is not waited for. */
static void
drain_idle(struct smtpc_loop *l)
{
	struct smtpc_conn *c, *next;

	for (c = TAILQ_FIRST(&l->all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->state == SMTPC_SAVED) {
			smtpc_unsave(c);
			smtpc_session_quit(c, "stopping");
		} else if (c->state < SMTPC_MAIL) {
			smtpc_conn_abort(c);
		}
	}
}

static void
client_drain(struct ga_inst *inst, struct ga_worker *w, uint64_t until_ms)
{
	struct smtpc_loop *l = ga_worker_state(inst, w);
	uint64_t now = ga_now_ms(w);
	uint64_t left = until_ms > now + DRAIN_MARGIN_MS ? until_ms - now - DRAIN_MARGIN_MS : 1;

	if (l->draining)
		return;
	l->draining = true;
	l->hold = ga_hold(inst, "deliveries in flight");
	l->drain_timer = ga_timer_new(inst, w, drain_over, l);
	ga_timer_arm(l->drain_timer, left < HOUR_MS ? left : HOUR_MS, 0);
	drain_idle(l);
	smtpc_drain_check(l);
}

static void
free_dones(struct smtpc_dones *list)
{
	struct smtpc_done *d;

	while ((d = LIST_FIRST(list)) != NULL) {
		LIST_REMOVE(d, link);
		free(d);
	}
}

static void
free_kept(struct smtpc_loop *l)
{
	struct smtpc_conn *c;

	while ((c = l->free_conns) != NULL) {
		l->free_conns = TAILQ_NEXT(c, all);
		ga_timer_free(c->timer);
		smtpc_out_free(&c->out);
		free(c);
	}
	free_dones(&l->free_dones);
	l->nfree = 0;
	free(l->scratch);
	l->scratch = NULL;
}

static void
client_stop(struct ga_inst *inst, struct ga_worker *w)
{
	struct smtpc_loop *l = ga_worker_state(inst, w);

	if (l->worker == NULL)
		return;
	l->draining = true;
	abort_all(l);
	if (l->hold != NULL)
		ga_unhold(l->hold);
	l->hold = NULL;
	ga_timer_free(l->drain_timer);
	l->drain_timer = NULL;
	free_kept(l);
	smtpc_conns_stop(l);
}

/* All loops have ended: a post or the spool may have had a connection until then. */
static void
client_fini(struct ga_inst *inst)
{
	smtpc_walks_stop();
	smtpc_explain_stop();
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct smtpc_loop *l = ga_worker_state(inst, ga_worker_get(i));

		if (l->worker == NULL)
			continue;
		free_dones(&l->dones);
		smtpc_conns_end(l);
	}
}

#define GA_CF_SELF_ struct smtpc_conf
GA_CONF_SCHEMA(smtpc_conf, SMTPC_DIRECTIVES);

GA_MODULE(smtp_client, "1.0.0", "", GA_NO_HOOKS, SMTPC_DIRECTIVES,
    .summary = "SMTP out: connections, transactions, results",
    .conf = &smtpc_conf_schema,
    .flags = GA_KEEP_INSTANCE,
    .worker_size = sizeof(struct smtpc_loop),
    .init = client_init,
    .start = client_start,
    .drain = client_drain,
    .stop = client_stop,
    .fini = client_fini);
