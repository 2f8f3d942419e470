/*
 * explain.c - `explain` of the control socket: why mail moves or does not.
 *
 * One question goes the way that the mail goes: the queue says what it has of it, the
 * router where it goes and why there, the throttle what its group allows, delivery who uses
 * the group's connections.  Each adds facts (service/explain.h); this module only carries
 * the question on, and names the first fact that holds the mail.
 *
 * Arguments: what (an envelope-id or message-id in hexadecimal digits as they are shown, an
 * address, or a domain), virtual_mta (another one than the mail's).
 *
 * Main loop.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <stdlib.h>
#include <string.h>

#include <sys/queue.h>

#include <greenarrow/json.h>
#include <greenarrow/mail.h>
#include <greenarrow/service/control.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/queue.h>

struct explain {
	LIST_ENTRY(explain) link;
	struct ga_control_call *call;
	struct json_object *facts;
	struct ga_str virtual_mta;		/* asked for; "" = the mail's */
	char what[512], mta[208], domain[256];
	struct ga_queue_question queue;
	struct ga_route_question router;
	struct ga_group_question group;
};

static LIST_HEAD(, explain) asked = LIST_HEAD_INITIALIZER(asked);

static void
explain_free(struct explain *e)
{
	LIST_REMOVE(e, link);
	json_object_put(e->facts);
	ga_route_unref(e->router.route);
	free(e);
}

/* --- the answer --- */

static struct json_object *
envelopes(const struct ga_queue_question *q)
{
	struct json_object *o = json_object_new_object();

	ga_json_put_int(o, "found", q->found);
	ga_json_put_int(o, "waiting", q->waiting);
	ga_json_put_int(o, "in_flight", q->in_flight);
	ga_json_put_int(o, "held", q->held);
	return o;
}

/* The first fact that holds it; NULL: none does. */
static struct json_object *
cause(struct json_object *facts)
{
	struct json_object *holds;

	for (size_t i = 0; i < json_object_array_length(facts); i++) {
		struct json_object *fact = json_object_array_get_idx(facts, i);

		if (json_object_object_get_ex(fact, "holds", &holds) && json_object_get_boolean(holds))
			return fact;
	}
	return NULL;
}

static void
answer(struct explain *e)
{
	struct json_object *o = json_object_new_object(), *why = cause(e->facts), *word;
	const struct ga_route *route = e->router.route;

	ga_json_put_str(o, "what", ga_str_c(e->what));
	ga_json_put_str(o, "domain", route->domain);
	ga_json_put_str(o, "virtual_mta", route->virtual_mta);
	ga_json_put_str(o, "throttle_group_key", route->group_key);
	json_object_object_add(o, "envelopes", envelopes(&e->queue));
	ga_json_put_bool(o, "moves", why == NULL);
	if (why != NULL && json_object_object_get_ex(why, "fact", &word))
		json_object_object_add(o, "cause", json_object_get(word));
	json_object_object_add(o, "facts", json_object_get(e->facts));
	ga_control_reply(e->call, o);
	explain_free(e);
}

/* --- the way --- */

static void
delivery_said(struct ga_worker *w, struct ga_group_question *q)
{
	(void)w;
	answer(q->arg);
}

static void
throttle_said(struct ga_worker *w, struct ga_group_question *q)
{
	const struct ga_delivery *d = ga_service_get(GA_DELIVERY_SERVICE, GA_DELIVERY_VERSION);

	if (d == NULL) {
		delivery_said(w, q);
		return;
	}
	q->cb = delivery_said;
	d->explain(q);
}

static void
router_said(struct ga_worker *w, struct ga_route_question *router)
{
	struct explain *e = router->arg;
	const struct ga_throttle *t = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);

	e->group = (struct ga_group_question){ .asker = w, .route = router->route, .facts = e->facts,
		.cb = throttle_said, .arg = e };
	/* what goes nowhere has no group to wait in */
	if (router->route->kind != GA_ROUTE_DELIVER)
		answer(e);
	else if (t == NULL)
		throttle_said(w, &e->group);
	else
		t->explain(&e->group);
}

static void
ask_router(struct ga_worker *w, struct explain *e)
{
	const struct ga_router *r = ga_service_get(GA_ROUTER_SERVICE, GA_ROUTER_VERSION);

	if (r == NULL) {
		ga_control_error(e->call, "no_router", "no module provides the router: load_module route");
		explain_free(e);
		return;
	}
	e->router = (struct ga_route_question){ .asker = w,
		.virtual_mta = e->virtual_mta.n > 0 ? e->virtual_mta : ga_str_c(e->queue.virtual_mta),
		.domain = ga_str_c(e->domain), .message_key = e->queue.message_key,
		.address_key = e->queue.address_key, .facts = e->facts, .cb = router_said, .arg = e };
	r->explain(&e->router);
}

static void
queue_said(struct ga_worker *w, struct ga_queue_question *q)
{
	struct explain *e = q->arg;

	if (e->domain[0] == '\0' && q->found == 0) {
		ga_control_error(e->call, "not_found", "there is no envelope %s in the queue", e->what);
		explain_free(e);
		return;
	}
	if (q->found > 0)
		memcpy(e->domain, q->of_domain, sizeof e->domain);
	ask_router(w, e);
}

/* --- the question --- */

static bool
hexadecimal(struct ga_str s)
{
	return (s.n == 8 || s.n == 16) && strspn(s.p, "0123456789abcdefABCDEF") == s.n;
}

/* NULL, or what is wrong with it. */
static const char *
read_what(struct explain *e)
{
	struct ga_str s = ga_str_c(e->what), local, domain = s;

	if (hexadecimal(s)) {
		e->queue.envelope_id = strtoull(e->what, NULL, 16);
		if (s.n == 8)
			e->queue.envelope_id <<= 32;
		return NULL;
	}
	if (memchr(s.p, '@', s.n) != NULL) {
		if (ga_mail_address(s, true, &local, &domain) != GA_MAIL_OK)
			return "is no address";
		e->queue.address = s;
	}
	if (!ga_mail_domain(domain, e->domain, sizeof e->domain, &e->queue.domain))
		return "is neither an envelope-id, nor an address, nor a domain";
	return NULL;
}

static bool
copy_argument(struct json_object *args, const char *key, char *to, size_t room)
{
	struct json_object *m;
	const char *text = json_object_object_get_ex(args, key, &m) ? json_object_get_string(m) : "";

	if (text == NULL || strlen(text) >= room)
		return false;
	memcpy(to, text, strlen(text) + 1);
	return true;
}

static void
explain(struct ga_control_call *call, struct json_object *args, void *arg)
{
	const struct ga_queue *queue = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);
	struct explain *e = ga_xcalloc(1, sizeof *e);
	const char *wrong = NULL;

	(void)arg;
	if (!copy_argument(args, "what", e->what, sizeof e->what) || e->what[0] == '\0')
		wrong = "\"what\" is missing or too long";
	else if (!copy_argument(args, "virtual_mta", e->mta, sizeof e->mta))
		wrong = "\"virtual_mta\" is too long";
	if (wrong != NULL) {
		ga_control_error(call, "bad_argument", "%s", wrong);
		free(e);
		return;
	}
	wrong = read_what(e);
	if (wrong != NULL) {
		ga_control_error(call, "bad_argument", "\"%s\" %s", e->what, wrong);
		free(e);
		return;
	}
	e->call = call;
	e->virtual_mta = ga_str_c(e->mta);
	e->facts = json_object_new_array();
	LIST_INSERT_HEAD(&asked, e, link);
	e->queue.asker = ga_worker_main();
	e->queue.facts = e->facts;
	e->queue.cb = queue_said;
	e->queue.arg = e;
	if (queue != NULL)
		queue->explain(&e->queue);
	else
		queue_said(ga_worker_main(), &e->queue);
}

/* --- the module --- */

static bool
init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	ga_control_register(inst, "explain", "why mail moves or does not", explain, NULL);
	return true;
}

/* All loops have ended: what was under way gets no answer from them any more. */
static void
fini(struct ga_inst *inst)
{
	struct explain *e;

	(void)inst;
	while ((e = LIST_FIRST(&asked)) != NULL) {
		ga_control_error(e->call, "stopping", "greenarrowd stops");
		explain_free(e);
	}
}

GA_MODULE(explain, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES,
	.summary = "Says why mail moves or does not",
	.flags = GA_KEEP_INSTANCE,
	.init = init,
	.fini = fini);
