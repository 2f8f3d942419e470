/*
 * world.c - the client, intake and spool of world.h.
 *
 * Callbacks come as the contracts of their headers say: never inside the call that
 * asked for them.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/snapshot.h"
#include "loop/loop.h"
#include "module/inst.h"
#include "module/wait.h"
#include "../auth.h"
#include "world.h"

/* --- the stream --- */

struct fake_stream {
	struct ga_stream head;
	struct world *w;
	unsigned want;
	bool closed;
	struct ga_stream_info info;
};

static struct fake_stream *stream;

static struct world *
world_of(struct ga_stream *s)
{
	return ((struct fake_stream *)s)->w;
}

static ssize_t
fake_read(struct ga_stream *s, void *to, size_t n)
{
	struct world *w = world_of(s);
	size_t k = n < w->piece ? n : w->piece;

	assert(n > 0);
	if (w->fails)
		return -ECONNRESET;
	if (w->nsend == 0)
		return w->closes ? 0 : -EAGAIN;
	if (k > w->nsend)
		k = w->nsend;
	memcpy(to, w->send, k);
	w->send += k;
	w->nsend -= k;
	return (ssize_t)k;
}

static ssize_t
fake_writev(struct ga_stream *s, const struct iovec *v, int n)
{
	struct world *w = world_of(s);
	size_t all = 0;

	for (int i = 0; i < n; i++) {
		size_t k = v[i].iov_len < w->takes ? v[i].iov_len : w->takes;

		assert(w->nout + k < WORLD_OUT);
		memcpy(w->out + w->nout, v[i].iov_base, k);
		w->nout += k;
		w->takes -= k;
		all += k;
	}
	return all > 0 ? (ssize_t)all : -EAGAIN;
}

static void
fake_want(struct ga_stream *s, unsigned events)
{
	((struct fake_stream *)s)->want = events;
}

static void
fake_starttls(struct ga_stream *s, const struct ga_tls_params *p)
{
	assert(p->timeout_ms > 0);
	world_of(s)->tls_wanted = true;
}

static const struct ga_stream_info *
fake_info(struct ga_stream *s)
{
	return &((struct fake_stream *)s)->info;
}

static bool
fake_save(struct ga_stream *s)
{
	return false;
}

static void
fake_close(struct ga_stream *s, bool abort)
{
	world_of(s)->connected = false;
	((struct fake_stream *)s)->closed = true;
}

static const struct ga_stream_ops fake_ops = {
	sizeof fake_ops, fake_read, fake_writev, fake_want, fake_starttls, fake_info, fake_save,
	fake_close,
};

/* --- intake --- */

static struct world *the_world;

static uint32_t
fake_reserve(struct ga_worker *loop)
{
	the_world->reserved++;
	return ++the_world->last_id;
}

static void
fake_release(struct ga_worker *loop, uint32_t id)
{
	assert(the_world->reserved > 0 && id > 0 && id <= the_world->last_id);
	the_world->reserved--;
}

static int
fake_room(uint64_t octets)
{
	return the_world->room;
}

static void
fake_submit(struct ga_worker *loop, struct ga_intake_submit *sub)
{
	assert(the_world->waiting == NULL);
	assert(sub->txn->id != 0 && sub->txn->nrcpts > 0);
	the_world->waiting = sub;
}

static const struct ga_intake fake_intake = {
	sizeof fake_intake, GA_INTAKE_VERSION, fake_reserve, fake_release, fake_room, fake_submit,
};

/* --- spool --- */

struct ga_spool_upload {
	struct ga_body *body;
	bool ended;			/* no more of the session's */
	unsigned pieces;
};

static struct ga_spool_piece *pieces[64];

static struct ga_spool_upload *
fake_upload_begin(struct ga_worker *loop)
{
	struct ga_spool_upload *u = ga_xcalloc(1, sizeof *u);

	u->body = ga_body_new();
	the_world->uploads++;
	return u;
}

static void
upload_end(struct ga_spool_upload *u)
{
	if (!u->ended || u->pieces > 0)
		return;
	ga_body_unref(u->body);
	free(u);
	the_world->uploads--;
}

static void
fake_upload_piece(struct ga_worker *loop, struct ga_spool_piece *p)
{
	assert(the_world->pieces_waiting < 64 && !p->upload->ended);
	p->upload->pieces++;
	pieces[the_world->pieces_waiting++] = p;
}

static void
fake_upload_abort(struct ga_worker *loop, struct ga_spool_upload *u)
{
	u->ended = true;
	upload_end(u);
}

static const struct ga_spool fake_spool = {
	.size = sizeof fake_spool, .version = GA_SPOOL_VERSION,
	.upload_begin = fake_upload_begin, .upload_piece = fake_upload_piece,
	.upload_abort = fake_upload_abort,
};

void
world_write_pieces(struct world *w)
{
	while (w->pieces_waiting > 0) {
		struct ga_spool_piece *p = pieces[0];
		struct ga_spool_upload *u = p->upload;

		memmove(pieces, pieces + 1, --w->pieces_waiting * sizeof pieces[0]);
		for (struct ga_body_chunk *c = p->body->chunks; c != NULL; c = c->next)
			ga_body_append(u->body, c->data, c->n);
		ga_body_unref(p->body);
		u->pieces--;
		p->error = w->piece_error;
		upload_end(u);
		p->cb(w->worker->loop, p);
	}
}

/* --- what happens --- */

static void
take_message(struct world *w, struct ga_intake_submit *sub)
{
	struct world_message *m = &w->messages[w->nmessages % WORLD_MESSAGES];
	struct ga_txn *t = sub->txn;
	struct ga_body *body = sub->upload != NULL ? sub->upload->body : t->body;

	w->nmessages++;
	ga_body_prepend(body, sub->trace.p, sub->trace.n);
	m->text = ga_body_flat(body, w->pool);
	m->sender = ga_dup(w->pool, t->sender);
	m->rcpts = (struct ga_str){ "", 0 };
	for (size_t i = 0; i < t->nrcpts && i < 100; i++)
		m->rcpts = ga_fmt(w->pool, "%.*s%s%.*s", (int)m->rcpts.n, m->rcpts.p,
		    i > 0 ? " " : "", (int)t->rcpts[i].to.n, t->rcpts[i].to.p);
	m->id = t->id;
	m->flags = t->flags;
	m->header_size = t->header_size + (uint32_t)sub->trace.n;
	m->nrcpts = t->nrcpts;
	m->attrs = ga_dup(w->pool, (struct ga_str){ t->attrs.p, t->attrs.n });
	m->first = t->rcpts[0];
	m->first.to = ga_dup(w->pool, m->first.to);
	m->first.domain = ga_dup(w->pool, m->first.domain);
	m->first.orcpt = ga_dup(w->pool, m->first.orcpt);
}

void
world_answer(struct world *w)
{
	struct ga_intake_submit *sub = w->waiting;

	assert(sub != NULL);
	w->waiting = NULL;
	sub->verdict = w->verdict;
	sub->reply = w->reply;
	if (w->verdict == GA_ACCEPT)
		take_message(w, sub);
	if (sub->upload != NULL)
		fake_upload_abort(w->worker->loop, sub->upload);
	w->reserved--;
	sub->cb(w->worker->loop, sub);
}

struct ga_str
world_after_trace(struct ga_str t)
{
	size_t at = 0;

	do
		at = (size_t)((const char *)memchr(t.p + at, '\n', t.n - at) - t.p) + 1;
	while (at < t.n && t.p[at] == '\t');
	return (struct ga_str){ t.p + at, t.n - at };
}

/* One thing that can happen, if there is one. */
static bool
happen(struct world *w)
{
	struct smtpd_session *s = w->worker->sessions;

	/* a helper thread is at work, or a delay */
	if (s != NULL && (s->state == S_VERIFY || smtpd_auth_busy(s))) {
		if (w->stays)
			return false;
		ev_run(gac_loop_ev(w->worker->loop), EVRUN_ONCE);
		return true;
	}
	if (w->connected && w->tls_wanted && !w->holds_tls) {
		w->tls_wanted = false;
		w->tls_on = true;
		stream->info.tls = true;
		stream->head.tls_done(&stream->head, NULL, stream->head.arg);
		return true;
	}
	if (w->waiting != NULL && !w->answers_late) {
		world_answer(w);
		return true;
	}
	if (w->pieces_waiting > 0 && !w->answers_late) {
		world_write_pieces(w);
		return true;
	}
	if (w->connected && (stream->want & GA_WRITE) && w->takes > 0) {
		stream->head.ready(&stream->head, GA_WRITE, stream->head.arg);
		return true;
	}
	if (w->connected && (stream->want & GA_READ) && (w->nsend > 0 || w->closes)) {
		stream->head.ready(&stream->head, GA_READ, stream->head.arg);
		return true;
	}
	return false;
}

void
world_send(struct world *w, const char *p, size_t n)
{
	w->send = p;
	w->nsend = n;
	while (happen(w))
		;
}

const char *
world_heard(struct world *w)
{
	static char *last;
	static size_t room;

	if (room < w->nout + 1) {
		room = w->nout + 1;
		last = ga_xrealloc(last, room);
	}
	memcpy(last, w->out, w->nout);
	last[w->nout] = '\0';
	w->nout = 0;
	return last;
}

void
world_disconnect(struct world *w)
{
	w->closes = true;
	world_send(w, "", 0);
	w->closes = false;
}

void
world_connect(struct world *w)
{
	struct smtpd_arrival a = { .relays = w->relays && !w->proxied,
		.tls = w->tls_first, .proxied = w->proxied };

	assert(!w->connected);
	free(stream);
	stream = ga_xcalloc(1, sizeof *stream);
	stream->w = w;
	stream->head.ops = &fake_ops;
	stream->head.worker = w->worker->loop;
	w->connected = true;
	w->tls_on = w->tls_wanted = false;
	a.stream = &stream->head;
	if (!ga_sockaddr_parse(&a.peer, GA_STR("192.0.2.1:4711"), 0) ||
	    !ga_sockaddr_parse(&a.local, GA_STR("192.0.2.2:25"), 0))
		abort();
	if (smtpd_limits_take(&w->service.limits, &a.peer, 1000, w->proxied ? 0 : 20, &a.client) != SMTPD_SLOT_OK)
		abort();
	atomic_fetch_add(&w->gen->refs, 1);
	smtpd_session_new(w->worker, w->gen, &a);
}

/* --- making it --- */

extern const struct ga_module smtp_server_LTX_ga_module;

static struct ga_plan plan;
static struct ga_step steps[GA_HOOK_COUNT_][2];

static const struct ga_plan *
hooks_of_test(void *ctx, const struct ga_settings *settings, const uint64_t *enabled, size_t n)
{
	return &plan;
}

void
world_hook(struct world *w, enum ga_hook_id hook, void (*fn)(void))
{
	static struct ga_inst *inst;

	if (inst == NULL) {
		inst = ga_xcalloc(1, sizeof *inst);
		inst->module = ga_xcalloc(1, sizeof *inst->module);
	}
	steps[hook][0].fn.any = fn;
	steps[hook][0].inst = inst;
	plan.hooks[hook] = fn != NULL ? steps[hook] : NULL;
	w->gen->content_hooks = GA_WANTED(&plan, header) || GA_WANTED(&plan, body) ||
	    GA_WANTED(&plan, eom);
}

void
world_turn(struct world *w)
{
	ev_run(gac_loop_ev(w->worker->loop), EVRUN_NOWAIT);
	ev_run(gac_loop_ev(w->worker->loop), EVRUN_NOWAIT);
}

struct ga_snapshot *
world_load(const char *blocks)
{
	const struct ga_module *m = &smtp_server_LTX_ga_module;
	struct gac_manifest_text manifest = { "smtp_server", ga_str_c(m->manifest) };
	struct gac_snapshot_module code = { "smtp_server", m->conf };
	struct gac_snapshot_options so = { .modules = &code, .nmodules = 1,
		.build_plan = hooks_of_test };
	struct gac_conf_options o = { .file = "world.conf", .build_id = m->head.build_id,
		.builtin = &manifest, .nbuiltin = 1, .no_files = true };
	struct ga_diag *diag = gac_diag_new();
	struct gac_conf *conf;
	char text[2304];

	o.text_size = (size_t)snprintf(text, sizeof text, "load_module smtp_server\n"
	    "%s", blocks);
	o.text = text;
	conf = gac_conf_load(&o, diag);
	gac_diag_print(diag, stderr);
	gac_diag_free(diag);
	if (conf == NULL)
		abort();
	return gac_snapshot_new(conf, &so);
}

static struct ga_snapshot *
load(const char *statements)
{
	char blocks[2048];

	snprintf(blocks, sizeof blocks, "smtp_service test {\nlisten 127.0.0.1:25\n%s\n}\n", statements);
	return world_load(blocks);
}

static struct smtpd_gen *
make_gen(struct world *w)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct smtpd_gen *g = ga_alloc(pool, sizeof *g);
	const struct ga_object *block = ga_object_first(w->snapshot, NULL, "smtp_service");

	atomic_init(&g->refs, 1);
	g->pool = pool;
	g->service = &w->service;
	g->snapshot = ga_snapshot_ref(w->snapshot);
	g->settings = ga_snapshot_object(w->snapshot, block);
	g->plan = ga_settings_plan(g->settings);
	w->conf = *(const struct smtpd_conf *)ga_settings_conf(g->settings, "smtp_server");
	g->conf = &w->conf;
	g->block = block;
	if (!smtpd_gen_access(g))
		abort();
	g->greeting = GA_STR("220 test\r\n");
	g->helo = GA_STR("250 test\r\n");
	g->ehlo = GA_STR("250-test\r\n250 SIZE\r\n");
	g->ehlo_tls = GA_STR("250-test\r\n250 STARTTLS\r\n");
	return g;
}

struct world *
world_new(const char *statements)
{
	struct world *w = ga_xcalloc(1, sizeof *w);

	if (ga_worker_count() == 0) {
		gac_loops_init(1);
		gac_waits_init();
	}
	the_world = w;
	memset(&plan, 0, sizeof plan);
	w->snapshot = load(statements);
	w->service.name = (char *)(uintptr_t)"test";
	pthread_mutex_init(&w->service.lock, NULL);
	smtpd_limits_init(&w->service.limits);
	w->gen = make_gen(w);
	w->worker = ga_xcalloc(1, sizeof *w->worker);
	w->worker->loop = ga_worker_get(0);
	w->worker->intake = &fake_intake;
	w->worker->spool = &fake_spool;
	w->relays = true;
	w->piece = w->takes = SIZE_MAX;
	w->verdict = GA_ACCEPT;
	w->out = ga_xmalloc(WORLD_OUT);
	w->pool = ga_pool_new(0);
	return w;
}

/* Everything must have come back: sessions, slots, ids, uploads. */
void
world_free(struct world *w)
{
	w->takes = SIZE_MAX;
	w->answers_late = false;
	world_disconnect(w);
	assert(!w->connected && w->worker->nsessions == 0 && w->worker->sessions == NULL);
	assert(atomic_load(&w->service.limits.sessions) == 0);
	assert(w->reserved == 0 && w->uploads == 0 && w->waiting == NULL);
	free(stream);
	stream = NULL;
	smtpd_gen_unref(w->gen);
	smtpd_limits_free(&w->service.limits);
	pthread_mutex_destroy(&w->service.lock);
	ga_snapshot_unref(w->snapshot);
	ga_pool_free(w->pool);
	free(w->worker);
	free(w->out);
	free(w);
}
