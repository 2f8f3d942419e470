/*
 * stage.c - see stage.h.
 *
 * Doubles keep the contracts of their headers: a ticket comes home by post, and a route
 * that is late too.  What is asked of the spool in memory passes through here first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

#define SETTLE 12		/* turns in which all that is posted has happened */

extern const struct ga_module queue_LTX_ga_module, spool_memory_LTX_ga_module;

struct stage stage;
struct stage_wait stage_wait;

/* --- random numbers --- */

uint32_t __wrap_ga_random32(void);
uint32_t
__wrap_ga_random32(void)
{
	stage.seed ^= stage.seed >> 12;
	stage.seed ^= stage.seed << 25;
	stage.seed ^= stage.seed >> 27;
	return (uint32_t)((stage.seed * 0x2545f4914f6cdd1dull) >> 32);
}

/* --- services: the core's table is for one life, a test has many --- */

static struct { const char *name; const void *vtable; } services[8];

void __wrap_ga_service_provide(struct ga_inst *, const char *, uint32_t, const void *);
void
__wrap_ga_service_provide(struct ga_inst *inst, const char *name, uint32_t version, const void *vtable)
{
	unsigned i = 0;

	(void)inst;
	(void)version;
	while (services[i].name != NULL && strcmp(services[i].name, name) != 0)
		assert_true(++i < 8);
	services[i].name = name;
	services[i].vtable = vtable;
}

const void *__wrap_ga_service_get(const char *, uint32_t);
const void *
__wrap_ga_service_get(const char *name, uint32_t version)
{
	(void)version;
	for (unsigned i = 0; i < 8 && services[i].name != NULL; i++)
		if (strcmp(services[i].name, name) == 0)
			return services[i].vtable;
	return NULL;
}

/* --- the router --- */

struct stage_route {
	struct ga_route route;
	char text[512];
};

static void
free_route(struct ga_route *r)
{
	ga_snapshot_unref(r->snapshot);
	free(GA_CONTAINER(r, struct stage_route, route));
}

static struct ga_route *
new_route(const struct ga_route_request *req)
{
	struct stage_route *r = ga_xcalloc(1, sizeof *r);
	int n = snprintf(r->text, sizeof r->text, "%.*s%.*s", (int)req->domain.n, req->domain.p,
	    (int)req->virtual_mta.n, req->virtual_mta.p);

	assert_in_range(n, 0, sizeof r->text - 1);
	r->route.refs = 1;
	r->route.free_ = free_route;
	r->route.kind = stage.kind_of != NULL ? stage.kind_of(req->domain) : stage.kind;
	r->route.code = r->route.kind == GA_ROUTE_FAIL ? 550 : 451;
	r->route.enhanced = r->route.kind == GA_ROUTE_FAIL ? "5.1.2" : "4.4.3";
	r->route.text = "said the router";
	r->route.domain = (struct ga_str){ r->text, req->domain.n };
	r->route.virtual_mta = (struct ga_str){ r->text + req->domain.n, req->virtual_mta.n };
	if (stage.group != NULL)
		r->route.group_key = ga_str_c(stage.group);
	r->route.snapshot = ga_snapshot_current();
	r->route.settings = ga_snapshot_resolve(r->route.snapshot, r->route.virtual_mta, r->route.domain,
	    NULL, 0);
	return &r->route;
}

static bool
route(struct ga_worker *w, struct ga_route_request *req)
{
	(void)w;
	req->route = NULL;
	req->private_ = NULL;
	if (stage.routes_late) {
		req->private_ = stage.asking;
		stage.asking = req;
		return false;
	}
	stage.routed++;
	req->route = new_route(req);
	return true;
}

void
stage_routes(void)
{
	struct ga_route_request *req;

	while ((req = stage.asking) != NULL) {
		stage.asking = req->private_;
		stage.routed++;
		req->route = new_route(req);
		req->cb(ga_worker_get(0), req);
	}
	bed_turns(SETTLE);
}

static bool
known(struct ga_snapshot *snapshot, struct ga_str name)
{
	(void)snapshot;
	(void)name;
	return true;
}

static const struct ga_router router = { .size = sizeof router, .version = GA_ROUTER_VERSION, .route = route, .known = known };

/* --- the throttle --- */

static void
enqueue(struct ga_worker *w, struct ga_ticket *t)
{
	(void)w;
	t->next = NULL;
	*stage.last = t;
	stage.last = &t->next;
	stage.ntickets++;
}

void
stage_end(struct ga_ticket *t, enum ga_result result)
{
	struct ga_ticket **at = &stage.first;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (stage.last == &t->next)
		stage.last = at;
	stage.ntickets--;
	t->result = result;
	if (result == GA_RESULT_DEFERRAL || result == GA_RESULT_FAILURE) {
		t->text = strdup(result == GA_RESULT_DEFERRAL ? "451 4.0.0 later" : "550 5.1.1 no");
		t->code = result == GA_RESULT_DEFERRAL ? 451 : 550;
	}
	ga_ticket_end(t);
}

unsigned
stage_end_all(enum ga_result result)
{
	unsigned n = stage.ntickets;

	for (unsigned i = 0; i < n; i++)
		stage_end(stage.first, result);
	bed_turns(SETTLE);
	return n;
}

static void
recall(struct ga_worker *home, bool (*match)(const struct ga_ticket *, void *), void *arg)
{
	unsigned n = stage.ntickets;
	struct ga_ticket *t, *next;

	(void)home;
	stage.recalls++;
	if (stage.recalling != NULL)
		stage.recalling();
	for (t = stage.first; !stage.keeps_recalled && n-- > 0; t = next) {
		next = t->next;
		if (match == NULL || match(t, arg))
			stage_end(t, GA_RESULT_RECALLED);
	}
}

static uint64_t
limit(const struct ga_settings *settings)
{
	(void)settings;
	return 100;
}

static const struct ga_throttle throttle = { .size = sizeof throttle, .version = GA_THROTTLE_VERSION,
	.enqueue = enqueue, .recall = recall, .limit = limit };

unsigned
stage_tickets_to(const char *domain)
{
	unsigned n = 0;

	for (const struct ga_ticket *t = stage.first; t != NULL; t = t->next)
		n += ga_str_eq(t->route->domain, ga_str_c(domain));
	return n;
}

/* --- the spool, looked at --- */

static struct ga_spool watched;
static const struct ga_spool *memory;

static void
update(struct ga_worker *w, struct ga_spool_update *u)
{
	if (stage.on_update != NULL)
		stage.on_update(w, u);
	memory->update(w, u);
}

static void
done(struct ga_worker *w, struct ga_spool_done *d)
{
	if (stage.on_done != NULL)
		stage.on_done(w, d);
	memory->done(w, d);
}

static void
read_message(struct ga_worker *w, struct ga_spool_read *r)
{
	if (!stage.reads_hang)
		memory->read(w, r);
}

static bool
neighbours_init(struct ga_inst *inst, const void *conf)
{
	(void)conf;
	memory = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	watched = *memory;
	watched.update = update;
	watched.done = done;
	watched.read = read_message;
	ga_service_provide(inst, GA_SPOOL_SERVICE, GA_SPOOL_VERSION, &watched);
	ga_service_provide(inst, GA_ROUTER_SERVICE, GA_ROUTER_VERSION, &router);
	ga_service_provide(inst, GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION, &throttle);
	return true;
}

GA_MODULE(stage_neighbours, "1.0.0", "", GA_NO_HOOKS, GA_NO_DIRECTIVES, .flags = GA_KEEP_INSTANCE,
	.init = neighbours_init);

/* --- hooks --- */

static enum ga_verdict
ask_commit(struct ga_call *call, const struct ga_ev_commit *ev)
{
	return stage.commit != NULL ? stage.commit(call, ev) : GA_PASS;
}

static enum ga_verdict
ask_schedule(struct ga_call *call, const struct ga_ev_schedule *ev)
{
	return stage.schedule != NULL ? stage.schedule(call, ev) : GA_PASS;
}

static void
tell_queued(struct ga_call *call, const struct ga_ev_queued *ev)
{
	(void)call;
	(void)ev;
	stage.queued++;
}

static void
tell_attempt(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	if (stage.told != NULL)
		stage.told(call, ev);
}

#define STAGE_HOOKS(X)			\
	X(attempt_done, tell_attempt)	\
	X(queue_commit, ask_commit)	\
	X(message_queued, tell_queued)	\
	X(schedule, ask_schedule)
GA_MODULE(stage_hooks, "1.0.0", "", STAGE_HOOKS, GA_NO_DIRECTIVES, .flags = GA_KEEP_INSTANCE);

static enum ga_verdict
resumed(struct ga_call *call, void *arg)
{
	(void)call;
	(void)arg;
	stage_wait.resumed++;
	return stage_wait.verdict;
}

static void
cancelled(void *arg, enum ga_why why)
{
	(void)arg;
	stage_wait.cancelled++;
	stage_wait.why = why;
}

enum ga_verdict
stage_suspend(struct ga_call *call)
{
	struct ga_wait wait = { .size = sizeof wait, .label = "the test", .resume = resumed,
		.cancelled = cancelled };

	stage_wait.asked++;
	return ga_suspend(call, &wait, &stage_wait.token);
}

void
stage_resume(enum ga_verdict verdict)
{
	stage_wait.verdict = verdict;
	assert_true(ga_resume(ga_worker_get(0), stage_wait.token));
	bed_turns(SETTLE);
}

/* --- up and down --- */

static const struct ga_module *const plain[] = {
	&spool_memory_LTX_ga_module, &stage_neighbours_LTX_ga_module, &queue_LTX_ga_module, NULL
};
static const struct ga_module *const hooked[] = {
	&spool_memory_LTX_ga_module, &stage_neighbours_LTX_ga_module, &queue_LTX_ga_module,
	&stage_hooks_LTX_ga_module, NULL
};
static const struct ga_module *const *modules;

void
stage_start(const char *conf)
{
	stage.first = NULL;
	stage.last = &stage.first;
	stage.ntickets = 0;
	stage.asking = NULL;
	memset(&stage_wait, 0, sizeof stage_wait);
	bed_up(&(struct bed){ .conf = conf, .modules = modules });
	/* the spool tells of a message a turn */
	for (uint64_t n = stage_spool().live / 100 + 1; n > 0; n--)
		bed_turns(SETTLE);
}

static void
up(const char *conf, const struct ga_module *const *with)
{
	memset(&stage, 0, sizeof stage);
	stage.seed = 4711;
	modules = with;
	spool_memory_forget_all();
	stage_start(conf);
}

void
stage_up(const char *conf)
{
	up(conf, plain);
}

void
stage_up_hooked(const char *conf)
{
	up(conf, hooked);
}

void
stage_kill(void)
{
	bed_down();
	stage.first = NULL;
	stage.ntickets = 0;
	stage.asking = NULL;
}

void
stage_restart(const char *conf)
{
	stage_kill();
	stage_start(conf);
}

void
stage_down(void)
{
	stage_kill();
	spool_memory_forget_all();
}

int
stage_setup(void **state)
{
	(void)state;
	stage_up("");
	return 0;
}

int
stage_setup_hooked(void **state)
{
	(void)state;
	stage_up_hooked("");
	return 0;
}

int
stage_teardown(void **state)
{
	(void)state;
	stage_check();
	stage_down();
	return 0;
}

/* --- mail in --- */

static void
answered(struct ga_worker *w, struct ga_intake_submit *s)
{
	(void)w;
	((struct stage_submit *)s->arg)->answers++;
}

static struct ga_txn *
new_txn(const struct stage_mail *mail, struct ga_snapshot *snapshot)
{
	struct ga_txn *t = ga_txn_new(ga_worker_get(0), NULL, ga_snapshot_general(snapshot));

	t->sender = ga_dup(t->pool, ga_str_c(mail->sender != NULL ? mail->sender : "from@sender.example"));
	if (mail->vmta != NULL)
		ga_attrs_put(&t->attrs, GA_ATTR_VIRTUAL_MTA, ga_str_c(mail->vmta));
	if (mail->send != NULL)
		ga_attrs_put(&t->attrs, GA_ATTR_SEND_ID, ga_str_c(mail->send));
	if (mail->from != NULL)
		ga_attrs_put(&t->attrs, GA_ATTR_FROM_DOMAIN, ga_str_c(mail->from));
	for (unsigned i = 0; i < (mail->n > 0 ? mail->n : 1); i++) {
		struct ga_rcpt *r = ga_txn_add_rcpt(t);

		r->to = mail->domain != NULL ? ga_fmt(t->pool, "to%u@%s", i, mail->domain) :
		    ga_fmt(t->pool, "to@d%u.example", i);
	}
	t->hold = mail->hold;
	t->discard = mail->discard;
	if (mail->upload == NULL) {
		t->body = ga_body_new();
		ga_body_append(t->body, "Subject: x\r\n\r\nhello\r\n", 21);
		t->header_size = 14;
	}
	return t;
}

struct stage_submit *
stage_submit(struct stage_mail mail)
{
	const struct ga_intake *intake = ga_service_get(GA_INTAKE_SERVICE, GA_INTAKE_VERSION);
	struct stage_submit *r = ga_xcalloc(1, sizeof *r);

	r->snapshot = ga_snapshot_current();
	r->s.txn = new_txn(&mail, r->snapshot);
	r->s.upload = mail.upload;
	if (mail.upload == NULL)
		r->s.trace = GA_STR("Received: by test\r\n");
	r->s.cb = answered;
	r->s.arg = r;
	intake->submit(ga_worker_get(0), &r->s);
	assert_int_equal(r->answers, 0);	/* never inside the call */
	return r;
}

void
stage_submit_free(struct stage_submit *r)
{
	ga_txn_free(r->s.txn, GA_END_DONE);
	ga_snapshot_unref(r->snapshot);
	free(r);
}

struct ga_intake_submit
stage_answer(struct stage_mail mail)
{
	struct stage_submit *r = stage_submit(mail);
	struct ga_intake_submit s;

	bed_turns(SETTLE);
	assert_int_equal(r->answers, 1);
	s = r->s;
	s.txn = NULL;
	stage_submit_free(r);
	return s;
}

uint64_t
stage_accept(struct stage_mail mail)
{
	assert_int_equal(stage_answer(mail).verdict, GA_ACCEPT);
	return spool_memory_last_seq();
}

struct ga_message *
stage_message(const struct stage_mail *mail, uint32_t id)
{
	unsigned n = mail->n > 0 ? mail->n : 1;
	struct ga_attrs attrs = { NULL, 0, 0 }, *each = ga_xcalloc(n, sizeof *each);
	struct ga_str *packed = ga_xcalloc(n, sizeof *packed);
	struct ga_message *m;
	char to[300];

	ga_attrs_put(&attrs, GA_ATTR_SENDER,
	    ga_str_c(mail->sender != NULL ? mail->sender : "from@sender.example"));
	if (mail->vmta != NULL)
		ga_attrs_put(&attrs, GA_ATTR_VIRTUAL_MTA, ga_str_c(mail->vmta));
	if (mail->send != NULL)
		ga_attrs_put(&attrs, GA_ATTR_SEND_ID, ga_str_c(mail->send));
	if (mail->from != NULL)
		ga_attrs_put(&attrs, GA_ATTR_FROM_DOMAIN, ga_str_c(mail->from));
	for (unsigned i = 0; i < n; i++) {
		if (mail->domain != NULL)
			snprintf(to, sizeof to, "to%u@%s", i, mail->domain);
		else
			snprintf(to, sizeof to, "to@d%u.example", i);
		ga_attrs_put(&each[i], GA_ATTR_RECIPIENT, ga_str_c(to));
		packed[i] = (struct ga_str){ each[i].p, each[i].n };
	}
	m = ga_message_new(id, stage_wall(), (struct ga_str){ attrs.p, attrs.n }, packed, NULL, n, NULL);
	for (unsigned i = 0; i < n; i++)
		ga_attrs_free(&each[i]);
	ga_attrs_free(&attrs);
	free(each);
	free(packed);
	return m;
}

void
stage_loaded(struct ga_message *m)
{
	spool_memory_put(m);
}

/* --- what is seen --- */

struct ga_queue_stats
stage_stats(void)
{
	struct ga_queue_stats s;

	q_stats(&s);
	return s;
}

struct spool_memory_counts
stage_spool(void)
{
	struct spool_memory_counts c;

	spool_memory_counts(&c);
	return c;
}

uint64_t
stage_wall(void)
{
	return q_wall_ms(q_loop(ga_worker_get(0)));
}

bool
stage_recorded(uint64_t seq, uint32_t index, struct ga_envelope *e, char reply[1001])
{
	struct ga_message *m = spool_memory_message(seq);
	struct ga_str text = { NULL, 0 };

	if (m == NULL)
		return false;
	*e = m->envelopes[index];
	ga_attr_get(e->attrs, GA_ATTR_LAST_REPLY, &text);
	snprintf(reply, 1001, "%.*s", (int)text.n, text.n > 0 ? text.p : "");
	e->attrs = e->recipient = e->domain = (struct ga_str){ NULL, 0 };
	ga_message_unref(m);
	return true;
}

struct q_envelope *
stage_envelope(uint64_t seq, uint32_t index)
{
	struct q_loop *l = q_loop(ga_worker_get(0));

	for (uint32_t i = 1; i < l->messages.n; i++) {
		const struct q_message *m = q_message(l, i);

		if (m->state != Q_TIMED || m->seq != seq)
			continue;
		for (uint32_t k = m->envelopes; k != 0; k = q_envelope(l, k)->next)
			if (q_envelope(l, k)->index == index)
				return q_envelope(l, k);
	}
	return NULL;
}

size_t
stage_octets(bool used)
{
	const struct q_loop *l = q_loop(ga_worker_get(0));
	size_t n = (size_t)(l->id_mask + 1) * sizeof *l->ids;

	n += (size_t)(used ? l->messages.n : l->messages.room) * l->messages.size;
	n += (size_t)(used ? l->envelopes.n : l->envelopes.room) * l->envelopes.size;
	n += (size_t)(used ? l->nheap : l->heap_room) * sizeof *l->heap;
	for (uint32_t i = 1; i < l->nnames; i++)
		n += l->name_of[i] != NULL ? sizeof *l->name_of[i] + l->name_of[i]->n + sizeof l->name_of[i] : 0;
	return n;
}

/* --- status --- */

static ga_status_fn *status_fn;
void __real_ga_status_register(struct ga_inst *, ga_status_fn *);
void __wrap_ga_status_register(struct ga_inst *, ga_status_fn *);
void
__wrap_ga_status_register(struct ga_inst *inst, ga_status_fn *fn)
{
	status_fn = fn;
	__real_ga_status_register(inst, fn);
}

struct json_object *
stage_status(void)
{
	struct json_object *o = json_object_new_object();

	status_fn(q_inst, o);
	return o;
}
