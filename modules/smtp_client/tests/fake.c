/*
 * fake.c - see fake.h.  Stands in for the core's loops, hooks and services, and
 * for spool, throttle, transport and peer.  One loop, no threads, no descriptors.
 */
#include "config.h"

#include "fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <greenarrow/service/control.h>

struct ga_worker { struct ga_post *first, **last; uint64_t now; };
struct ga_timer { struct ga_timer *next; ga_timer_fn *fn; void *arg; uint64_t at; };
struct ga_group { int unused; };


struct fake fake;
static struct ga_worker worker;
static struct ga_group group;
static struct ga_timer *timers;
static struct smtpc_loop loop_state;
static const struct ga_delivery *delivery;
static struct ga_spool_done *held_dones[FAKE_TICKETS];
static unsigned nheld;
static ga_connect_fn *connect_cb;
static void *connect_arg;
static struct ga_stream_info stream_info;
static char rx[1u << 16];
static size_t nrx;
static bool rx_eof;

extern const struct ga_module smtp_client_LTX_ga_module;

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fake: %s\n", what);
	abort();
}

/* --- the core --- */

struct ga_worker *ga_worker_self(void) { return &worker; }
struct ga_worker *ga_worker_main(void) { return &worker; }
struct ga_worker *ga_worker_get(unsigned i) { return &worker; }
unsigned ga_worker_count(void) { return 1; }
void ga_worker_load(struct ga_worker *w, int by) { }
void *ga_worker_state(struct ga_inst *i, struct ga_worker *w) { return &loop_state; }
uint64_t ga_now_ms(struct ga_worker *w) { return worker.now; }
uint64_t ga_wall_ms(void) { return 1790000000000u + worker.now; }
uint32_t ga_random32(void) { return (uint32_t)random(); }
const char *ga_hostname(void) { return "host.example"; }
void ga_log(struct ga_inst *i, enum ga_level l, const char *tag, const char *fmt, ...) { }
struct ga_hold *ga_hold(struct ga_inst *i, const char *what) { return (void *)&loop_state; }
void ga_unhold(struct ga_hold *h) { }

void
ga_loop_post(struct ga_worker *w, struct ga_post *p)
{
	p->next = NULL;
	*w->last = p;
	w->last = &p->next;
}

struct ga_timer *
ga_timer_new(struct ga_inst *i, struct ga_worker *w, ga_timer_fn *fn, void *arg)
{
	struct ga_timer *t = ga_xcalloc(1, sizeof *t);

	*t = (struct ga_timer){ timers, fn, arg, 0 };
	timers = t;
	return t;
}

void ga_timer_arm(struct ga_timer *t, uint64_t after, uint64_t repeat) { t->at = worker.now + after; }
void ga_timer_stop(struct ga_timer *t) { t->at = 0; }

void
ga_timer_free(struct ga_timer *t)
{
	struct ga_timer **p = &timers;

	if (t == NULL)
		return;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	free(t);
}

const void *
ga_settings_conf(const struct ga_settings *s, const char *module)
{
	return &s->conf;
}

const struct ga_plan *ga_settings_plan(const struct ga_settings *s) { return &s->plan; }
void ga_connection_end(struct ga_connection *c) { }

static enum ga_verdict
attempt_hook(struct ga_run *run, enum ga_hook_id hook, const struct ga_ev_attempt *ev)
{
	if (hook == GA_HOOK_attempt_done) {
		fake.told++;
		fake.outcome = ev->outcome;
		fake.status = ev->status;
		fake.queue = ev->queue;
		memcpy(fake.phase_ms, ev->phase_ms, sizeof fake.phase_ms);
		snprintf(fake.extensions, sizeof fake.extensions, "%.*s", (int)ev->extensions.n, ev->extensions.p);
		snprintf(fake.hostname, sizeof fake.hostname, "%.*s", (int)ev->source_hostname.n, ev->source_hostname.p);
		snprintf(fake.reply, sizeof fake.reply, "%.*s", (int)ev->reply.n, ev->reply.p);
		snprintf(fake.line, sizeof fake.line, "%.*s", (int)ev->text.n, ev->text.p);
		return GA_PASS;
	}
	must(fake.amends == fake.told, "a result is asked for before it is told of");
	fake.amends++;
	fake.asked_status = ev->status;
	run->reply = fake.amended;
	return fake.amend[ev->envelope_id];
}

void
fake_result_hook(void)
{
	fake.settings.plan.hooks[GA_HOOK_result] = (const void *)&fake;
	fake.settings.plan.hooks[GA_HOOK_attempt_done] = (const void *)&fake;
}

enum ga_verdict
ga_run_hook(struct ga_run *run, enum ga_hook_id hook, const void *event)
{
	must(fake.settings.plan.hooks[hook] != NULL, "a hook that nobody wants is run");
	if (hook == GA_HOOK_result || hook == GA_HOOK_attempt_done)
		return attempt_hook(run, hook, event);
	fake.asked++;
	snprintf(run->reply.text, sizeof run->reply.text, "no");
	if (fake.verdict == GA_SUSPENDED_)
		fake.suspended = run;
	return fake.verdict;
}

void
fake_hook(enum ga_verdict v, const char *edited)
{
	fake.settings.plan.hooks[GA_HOOK_outgoing] = (const void *)&fake;
	fake.verdict = v;
	fake.edited = edited;
}

void
fake_answer(enum ga_verdict v)
{
	struct ga_run *run = fake.suspended;

	fake.suspended = NULL;
	run->done(run, v, run->arg);
	fake_run();
}

void
ga_run_cancel(struct ga_run *run, enum ga_why why)
{
	must(run == fake.suspended, "a question that is not open is cancelled");
	fake.suspended = NULL;
	fake.cancelled++;
}

bool ga_run_busy(const struct ga_run *run) { return run == fake.suspended; }

struct ga_content *
ga_content_new(struct ga_body *b, uint32_t header_size)
{
	return (void *)ga_body_ref(b);
}

void
ga_content_free(struct ga_content *c)
{
	if (c != NULL)
		ga_body_unref((void *)c);
}

bool ga_content_changed(const struct ga_content *c) { return fake.edited != NULL; }

struct ga_body *
ga_content_body(struct ga_content *c, uint32_t *header_size)
{
	struct ga_body *b = ga_body_new();

	ga_body_append(b, fake.edited, strlen(fake.edited));
	return b;
}

/* --- the control socket --- */

static struct {
	const char *name;
	ga_control_fn *fn;
} commands[8];
static unsigned ncommands;

void
ga_control_register(struct ga_inst *i, const char *name, const char *h, ga_control_fn *fn, void *a)
{
	must(ncommands < sizeof commands / sizeof commands[0], "no room for a command");
	commands[ncommands].name = name;
	commands[ncommands++].fn = fn;
}

/* Answers are kept as text, a line each. */
bool
ga_control_part(struct ga_control_call *c, struct json_object *o)
{
	size_t n = strlen(fake.answer);

	snprintf(fake.answer + n, sizeof fake.answer - n, "%s\n",
	    json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
	return true;
}

void
ga_control_reply(struct ga_control_call *c, struct json_object *o)
{
	ga_control_part(c, o);
	fake.answers++;
}

void
ga_control_error(struct ga_control_call *c, const char *code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(fake.answer, sizeof fake.answer, fmt, ap);
	va_end(ap);
	fake.answers++;
}

bool ga_control_gone(const struct ga_control_call *c) { return false; }

const char *
fake_ask(const char *name, const char *args)
{
	struct json_object *o = json_tokener_parse(args);

	fake.answer[0] = '\0';
	fake.answers = 0;
	for (unsigned i = 0; i < ncommands; i++)
		if (strcmp(commands[i].name, name) == 0)
			commands[i].fn(NULL, o, NULL);
	json_object_put(o);
	fake_run();
	must(fake.answers == 1, "a command is answered once");
	return fake.answer;
}
void ga_status_register(struct ga_inst *i, ga_status_fn *f) { }

/* --- routes and tickets --- */

static void
route_free(struct ga_route *r)
{
	for (uint32_t i = 0; i < r->nhosts; i++) {
		free((void *)(size_t)r->hosts[i].name.p);
		free((void *)(size_t)r->hosts[i].addresses);
	}
	free((void *)(size_t)r->hosts);
	free(r);
}

struct ga_route *
fake_route(const char *domain, unsigned nhosts)
{
	struct ga_route *r = ga_xcalloc(1, sizeof *r);
	struct ga_route_host *h = ga_xcalloc(nhosts + 1, sizeof *h);

	*r = (struct ga_route){ .refs = 1, .free_ = route_free, .settings = &fake.settings, .domain = ga_str_c(domain),
		.virtual_mta = GA_STR("ip-1"), .mta_id = 2, .nhosts = nhosts, .hosts = h,
		.group = &group, .v4 = { .hostname = GA_STR("mail.example") } };
	for (unsigned i = 0; i < nhosts; i++) {
		struct ga_sockaddr *a = ga_xcalloc(1, sizeof *a);
		struct sockaddr_in *in = (struct sockaddr_in *)(void *)&a->u.ss;
		char *name = ga_xmalloc(16);

		a->len = sizeof *in;
		in->sin_family = AF_INET;
		in->sin_port = htons(25);
		in->sin_addr.s_addr = htonl(0x7f000001 + i);
		snprintf(name, 16, "mx%u", i);
		h[i] = (struct ga_route_host){ .name = ga_str_c(name), .preference = (uint16_t)i,
			.naddresses = 1, .addresses = a };
	}
	return r;
}

static void
came_home(struct ga_worker *w, struct ga_ticket *t)
{
	struct fake_result *r = &fake.results[fake.nresults++];

	must(fake.nresults <= FAKE_TICKETS && t->result != GA_RESULT_NONE, "a ticket without result");
	*r = (struct fake_result){ t->envelope_id, t->result, t->code, t->network, t->recorded, t->relayed,
		(enum ga_attempt_stage)t->stage, "", "", "", t->since_ms };
	snprintf(r->mx, sizeof r->mx, "%s", t->mx != NULL ? t->mx : "");
	snprintf(r->enhanced, sizeof r->enhanced, "%s", t->enhanced);
	snprintf(r->text, sizeof r->text, "%s", t->text != NULL ? t->text : "");
	ga_route_unref(t->route);
	if (t->message != NULL)
		ga_message_unref(t->message);
	free(t->text);
	free(t->mx);
	free(t);
}

static struct ga_message *
make_message(const char *body, const char *domain, unsigned n, bool in_memory)
{
	struct ga_attrs attrs = { 0 }, *envelopes = ga_xcalloc(n, sizeof *envelopes);
	struct ga_str *packed = ga_xcalloc(n, sizeof *packed);
	struct ga_body *b = NULL;
	struct ga_message *m;

	ga_attrs_put(&attrs, GA_ATTR_SENDER, GA_STR("s@x.example"));
	for (unsigned i = 0; i < n; i++) {
		char to[300];

		snprintf(to, sizeof to, "r%u@%s", i, domain);
		ga_attrs_put(&envelopes[i], GA_ATTR_RECIPIENT, ga_str_c(to));
		packed[i] = (struct ga_str){ envelopes[i].p, envelopes[i].n };
	}
	if (in_memory) {
		b = ga_body_new();
		ga_body_append(b, body, strlen(body));
	}
	m = ga_message_new(1, 0, (struct ga_str){ attrs.p, attrs.n }, packed, NULL, n, b);
	m->body_size = strlen(body);
	for (unsigned i = 0; i < n; i++)
		ga_attrs_free(&envelopes[i]);
	ga_attrs_free(&attrs);
	free(envelopes);
	free(packed);
	return m;
}

static const char *spooled_domain;
static unsigned spooled_recipients;

struct ga_batch
fake_batch(struct ga_route *r, const char *body, unsigned n, bool in_memory)
{
	struct ga_message *m = make_message(body, r->domain.p, n, in_memory);
	struct ga_batch batch = { NULL, n };

	if (!in_memory) {
		if (fake.spooled != NULL)
			ga_body_unref(fake.spooled);
		fake.spooled = ga_body_new();
		ga_body_append(fake.spooled, body, strlen(body));
		spooled_domain = r->domain.p;
		spooled_recipients = n;
	}
	for (unsigned i = n; i-- > 0;) {
		struct ga_ticket *t = ga_xcalloc(1, sizeof *t);

		*t = (struct ga_ticket){ .next = batch.first, .home = &worker, .route = ga_route_ref(r),
			.message = in_memory ? ga_message_ref(m) : NULL, .seq = 1, .envelope_id = i,
			.envelope = i, .done = came_home };
		batch.first = t;
	}
	ga_message_unref(m);
	return batch;
}

/* --- spool --- */

static void
read_answer(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_read *r = GA_CONTAINER(post, struct ga_spool_read, link.post);
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str flat = ga_body_flat(fake.spooled, pool);
	bool small = flat.n <= r->body_limit;

	r->message = make_message(flat.p, spooled_domain, spooled_recipients, small);
	ga_pool_free(pool);
	r->cb(w, r);
}

static void
spool_read(struct ga_worker *w, struct ga_spool_read *r)
{
	fake.reads++;
	r->link.post.fn = read_answer;
	ga_loop_post(w, &r->link.post);
}

static void
piece_answer(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_read_body *r = GA_CONTAINER(post, struct ga_spool_read_body, link.post);
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str flat = ga_body_flat(fake.spooled, pool);

	must(r->offset < flat.n, "a piece beyond the end was asked for");
	r->piece = ga_body_new();
	ga_body_append(r->piece, flat.p + r->offset,
	    r->len < flat.n - r->offset ? r->len : flat.n - r->offset);
	ga_pool_free(pool);
	r->cb(w, r);
}

static void
spool_read_body(struct ga_worker *w, struct ga_spool_read_body *r)
{
	fake.piece_reads++;
	r->link.post.fn = piece_answer;
	ga_loop_post(w, &r->link.post);
}

static void
done_answer(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_done *d = GA_CONTAINER(post, struct ga_spool_done, link.post);

	d->error = 0;
	d->cb(w, d);
}

static void
spool_done(struct ga_worker *w, struct ga_spool_done *d)
{
	fake.dones++;
	d->link.post.fn = done_answer;
	if (fake.hold_dones)
		held_dones[nheld++] = d;
	else
		ga_loop_post(w, &d->link.post);
}

static void
update_answer(struct ga_worker *w, struct ga_post *post)
{
	struct ga_spool_update *u = GA_CONTAINER(post, struct ga_spool_update, link.post);

	u->error = 0;
	u->cb(w, u);
}

static void
spool_update(struct ga_worker *w, struct ga_spool_update *u)
{
	must(u->flags == GA_ENV_RELAYED, "an update that is no success to be told of");
	fake.updates++;
	u->link.post.fn = update_answer;
	ga_loop_post(w, &u->link.post);
}

void
fake_durable(void)
{
	for (unsigned i = 0; i < nheld; i++)
		ga_loop_post(&worker, &held_dones[i]->link.post);
	nheld = 0;
	fake_run();
}

static const struct ga_spool spool = { .size = sizeof spool, .version = GA_SPOOL_VERSION,
	.read = spool_read, .read_body = spool_read_body, .done = spool_done, .update = spool_update };

/* --- throttle --- */

static struct ga_batch
throttle_next(struct ga_group *g, unsigned limit, ga_batch_fits_fn *fits, void *arg)
{
	struct ga_batch b = fake.next;

	if (b.n == 0 || !fits(b.first->route, arg))
		return (struct ga_batch){ NULL, 0 };
	fake.next = (struct ga_batch){ NULL, 0 };
	return b;
}

static void throttle_closed(struct ga_group *g) { fake.closed++; }

static void
throttle_ended(struct ga_group *g, const struct ga_ticket *t, unsigned n)
{
	for (fake.ended += n; n > 0; n--, t = t->next) {
		must(t != NULL && t->result != GA_RESULT_NONE, "ended() with a ticket less, or undecided");
		fake.ended_as[t->result]++;
	}
	must(t == NULL, "ended() with a ticket more than it says");
}

static unsigned throttle_max(const struct ga_group *g) { return 100; }
static struct ga_str throttle_key(const struct ga_group *g) { return GA_STR("2,x"); }

static const struct ga_throttle throttle = { .size = sizeof throttle,
	.version = GA_THROTTLE_VERSION, .next = throttle_next, .closed = throttle_closed,
	.ended = throttle_ended, .max_connections = throttle_max, .key = throttle_key };

/* --- transport and stream --- */

static bool serves(const struct ga_route *r) { return true; }

static struct ga_transport_open *
transport_open(struct ga_worker *w, const struct ga_transport_target *t, ga_connect_fn *cb, void *arg)
{
	must(!fake.opening && fake.stream == NULL, "a second connection of one slot");
	fake.connects++;
	fake.opening = true;
	fake.connected_to = *t->address;
	connect_cb = cb;
	connect_arg = arg;
	return (void *)&fake;
}

static void transport_cancel(struct ga_transport_open *o) { fake.opening = false; }

static const struct ga_transport transport = { .size = sizeof transport,
	.version = GA_TRANSPORT_VERSION, .serves = serves, .open = transport_open,
	.cancel = transport_cancel };

static ssize_t
stream_read(struct ga_stream *s, void *p, size_t n)
{
	if (nrx == 0)
		return rx_eof ? 0 : -EAGAIN;
	n = n < nrx ? n : nrx;
	memcpy(p, rx, n);
	memmove(rx, rx + n, nrx -= n);
	return (ssize_t)n;
}

static ssize_t
stream_writev(struct ga_stream *s, const struct iovec *v, int n)
{
	size_t total = 0;

	for (int i = 0; i < n; i++) {
		size_t k = v[i].iov_len < fake.write_room ? v[i].iov_len : fake.write_room;

		must(v[i].iov_len > 0, "an empty iovec");
		if (k > sizeof fake.tx - fake.ntx)
			k = sizeof fake.tx - fake.ntx;
		memcpy(fake.tx + fake.ntx, v[i].iov_base, k);
		fake.ntx += k;
		fake.write_room -= k;
		total += k;
	}
	return total > 0 ? (ssize_t)total : -EAGAIN;
}

static unsigned wanted;
static void stream_want(struct ga_stream *s, unsigned events) { wanted = events; }

static void
stream_starttls(struct ga_stream *s, const struct ga_tls_params *p)
{
	fake.handshakes++;
	fake.in_handshake = true;
}

static const struct ga_stream_info *get_info(struct ga_stream *s) { return &stream_info; }

static void
stream_close(struct ga_stream *s, bool abort)
{
	must(s == fake.stream, "a stream closed twice");
	fake.stream = NULL;
	fake.in_handshake = false;
	fake.closes++;
	nrx = 0;
	rx_eof = false;
	free(s);
}

static const struct ga_stream_ops ops = { .size = sizeof ops, .read = stream_read,
	.writev = stream_writev, .want = stream_want, .starttls = stream_starttls, .info = get_info,
	.close = stream_close };

const void *
ga_service_get(const char *name, uint32_t version)
{
	return strcmp(name, GA_SPOOL_SERVICE) == 0 ? (const void *)&spool : &throttle;
}

const void *
ga_service_nth(const char *name, uint32_t version, unsigned i, const char **module)
{
	return i == 0 ? &transport : NULL;
}

void
ga_service_provide(struct ga_inst *i, const char *name, uint32_t version, const void *vtable)
{
	delivery = vtable;
}

/* --- what tests do --- */

void
fake_run(void)
{
	struct ga_post *p;

	while ((p = worker.first) != NULL) {
		worker.first = p->next;
		if (worker.first == NULL)
			worker.last = &worker.first;
		p->fn(&worker, p);
	}
}

void
fake_advance(uint64_t ms)
{
	bool again = true;

	worker.now += ms;
	while (again) {
		again = false;
		for (struct ga_timer *t = timers; t != NULL; t = t->next)
			if (t->at != 0 && t->at <= worker.now) {
				t->at = 0;
				t->fn(NULL, &worker, t->arg);
				again = true;
				break;
			}
		fake_run();
	}
}

static const struct smtpc_conf defaults = { .starttls_use = true, .reuse_connections_max_messages = 5,
	.reuse_connections_timeout = 30000, .max_recipients_per_delivery = 100,
	.max_connect_attempts = 5, .smtp_connect_timeout = 30000, .smtp_greeting_timeout = 300000,
	.smtp_tls_timeout = 60000, .smtp_command_timeout = 300000, .smtp_data_timeout = 120000,
	.smtp_data_block_timeout = 180000, .smtp_dot_timeout = 600000, .smtp_quit_timeout = 5000 };

void
fake_begin(void)
{
	memset(&fake, 0, offsetof(struct fake, results));
	fake.nresults = 0;
	fake.ntx = 0;
	memset(&smtpc, 0, sizeof smtpc);
	memset(&loop_state, 0, sizeof loop_state);
	worker = (struct ga_worker){ .last = &worker.first, .now = 1000 };
	fake.settings.conf = defaults;
	fake.write_room = SIZE_MAX;
	nheld = 0;
	ncommands = 0;
	nrx = 0;
	rx_eof = false;
	must(smtp_client_LTX_ga_module.init(NULL, NULL), "init failed");
	must(smtp_client_LTX_ga_module.start(NULL, &worker), "start failed");
}

void
fake_drain(void)
{
	smtp_client_LTX_ga_module.drain(NULL, &worker, worker.now + 20000);
	fake_run();
}

void
fake_end(void)
{
	if (fake.next.n > 0)
		fake_open(fake.next);
	fake.next = (struct ga_batch){ NULL, 0 };
	fake_drain();
	fake_advance(20000);
	fake_durable();
	must(loop_state.open == 0 && LIST_EMPTY(&loop_state.objects), "connections are left after a drain");
	must(fake.stream == NULL && !fake.opening, "a stream is left");
	must(atomic_load(&smtpc.connections) == 0 && atomic_load(&smtpc.saved) == 0 &&
	    atomic_load(&smtpc.connecting) == 0, "a gauge is not back at zero");
	for (enum smtpc_state s = 0; s < SMTPC_STATES; s++)
		must(atomic_load(&loop_state.in_state[s]) == 0, "a connection is counted in a state that it has left");
	smtp_client_LTX_ga_module.stop(NULL, &worker);
	smtp_client_LTX_ga_module.fini(NULL);
	must(timers == NULL, "a timer is left");
	if (fake.spooled != NULL)
		ga_body_unref(fake.spooled);
	fake.spooled = NULL;
}

void
fake_open(struct ga_batch b)
{
	delivery->open(&group, &worker, b);
	fake_run();
}

bool
fake_offer(struct ga_batch b)
{
	bool taken = delivery->offer(&group, b);

	fake_run();
	return taken;
}

void
fake_discard(struct ga_batch b)
{
	struct ga_ticket *next;

	for (struct ga_ticket *t = b.first; t != NULL; t = next) {
		next = t->next;
		t->result = GA_RESULT_RECALLED;
		ga_ticket_end(t);
	}
	fake_run();
}

void
fake_accept(void)
{
	struct ga_stream *s = ga_xcalloc(1, sizeof *s);

	must(fake.opening, "no connection is being opened");
	fake.opening = false;
	s->ops = &ops;
	s->worker = &worker;
	fake.stream = s;
	stream_info.remote = fake.connected_to;
	connect_cb(&worker, s, 0, NULL, connect_arg);
	fake_run();
}

void
fake_refuse(void)
{
	must(fake.opening, "no connection is being opened");
	fake.opening = false;
	connect_cb(&worker, NULL, ECONNREFUSED, "connect: Connection refused", connect_arg);
	fake_run();
}

static void
ready(unsigned events)
{
	struct ga_stream *s = fake.stream;

	if (s != NULL && (wanted & events) != 0)
		s->ready(s, wanted & events, s->arg);
	fake_run();
}

void
fake_says_n(const char *p, size_t n)
{
	struct ga_stream *s = fake.stream;

	if (s == NULL || n > sizeof rx - nrx)
		return;
	memcpy(rx + nrx, p, n);
	nrx += n;
	while (fake.stream == s && nrx > 0 && !fake.in_handshake)
		ready(GA_READ);
	/* a stream that is still blocked takes more now */
	while (fake.stream == s && (wanted & GA_WRITE) && fake.write_room > 0)
		ready(GA_WRITE);
}

void fake_says(const char *text) { fake_says_n(text, strlen(text)); }

void
fake_eof(void)
{
	rx_eof = true;
	if (!fake.in_handshake)
		ready(GA_READ);
	rx_eof = false;
}

void
fake_tls(const char *err)
{
	fake.in_handshake = false;
	fake.stream->tls_done(fake.stream, err, fake.stream->arg);
	fake_run();
}

void
fake_expect(const char *text)
{
	size_t n = strlen(text);

	if (n != fake.ntx || memcmp(text, fake.tx, n) != 0) {
		fprintf(stderr, "expected: %s\nsent:     %.*s\n", text, (int)fake.ntx, fake.tx);
		abort();
	}
	fake.ntx = 0;
}

bool fake_sent_anything(void) { return fake.ntx > 0; }
