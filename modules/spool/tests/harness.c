/* harness.c - see harness.h. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness.h"

static struct rig *current;		/* ga_post carries no argument */
static struct ga_worker *const loop = (struct ga_worker *)(uintptr_t)16;

static void
post(struct ga_worker *w, struct ga_post *p)
{
	assert_ptr_equal(w, loop);
	p->next = NULL;
	*current->posts_end = p;
	current->posts_end = &p->next;
}

static void
log_line(void *ctx, enum ga_level level, const char *tag, const char *text)
{
	struct rig *r = ctx;

	if (r->loud)
		fprintf(stderr, "%s %s\n", tag, text);
	r->errors += level >= GA_ERR;
	r->warnings += level == GA_WARN;
}

void
rig_init(struct rig *r)
{
	memset(r, 0, sizeof *r);
	r->disk = memfs_new();
	memfs_ops(r->disk, &r->fs);
	r->posts_end = &r->posts;
	r->conf = (struct spool_conf){
		.segment_size = RIG_SEGMENT, .large = RIG_SEGMENT / 8, .fsync = true,
		.batch_bytes = 1u << 20, .batch_records = 256, .retry_ms = 100,
	};
	current = r;
}

void
rig_fini(struct rig *r)
{
	unsigned i;

	for (i = 0; i < r->nmail; i++) {
		ga_message_unref(r->mail[i]->m);
		free(r->mail[i]);
	}
	memfs_free(r->disk);
}

int
rig_open(struct rig *r)
{
	int error;

	current = r;
	r->s = spool_new(&r->fs, MEMFS_SPOOL, MEMFS_CORRUPT, &r->conf, post, log_line, r);
	error = recover_open(r->s);
	if (error == 0)
		error = recover_load(r->s);
	if (error == 0) {
		maint_prepare(r->s);
		atomic_store(&r->s->recovered, true);
	}
	return (error);
}

static bool
run_posts(struct rig *r)
{
	struct ga_post *p;
	bool any = false;

	while ((p = r->posts) != NULL) {
		r->posts = p->next;
		if (r->posts == NULL)
			r->posts_end = &r->posts;
		p->fn(loop, p);
		any = true;
	}
	return (any);
}

void
rig_pump(struct rig *r)
{
	unsigned turns = 0, idle = 0;
	bool busy;
	int wait;

	current = r;
	while (idle < 2 && turns++ < 20000 && !memfs_is_dead(r->disk)) {
		wait = commit_step(r->s);
		busy = maint_step(r->s) == 0;
		busy |= run_posts(r) || wait == 0;
		if (wait > 0 && turns < 200) {
			memfs_advance(r->disk, (uint64_t)wait * 1000);
			busy = true;
		}
		idle = busy ? 0 : idle + 1;
		if (idle == 1)
			memfs_advance(r->disk, 10000000);
	}
}

void
rig_drop(struct rig *r)
{
	run_posts(r);
	spool_free(r->s);
	r->s = NULL;
}

void
rig_close(struct rig *r)
{
	rig_pump(r);
	commit_seal(r->s);
	rig_pump(r);
	rig_drop(r);
}

static unsigned char
octet(uint32_t id, size_t at)
{
	return ((unsigned char)(id * 31 + at * 7 + (at >> 8)));
}

static struct ga_body *
make_body(uint32_t id, size_t size)
{
	struct ga_body *b = ga_body_new();
	unsigned char piece[997];
	size_t at, i;

	for (at = 0; at < size; at += i) {
		for (i = 0; i < sizeof piece && at + i < size; i++)
			piece[i] = octet(id, at + i);
		ga_body_append(b, piece, i);
	}
	return (b);
}

static struct ga_message *
make_message(uint32_t id, uint32_t nenv, size_t size)
{
	struct ga_attrs attrs = { 0 }, env[RIG_RCPT];
	struct ga_str lists[RIG_RCPT];
	struct ga_message *m;
	char text[64];
	uint32_t i;

	memset(env, 0, sizeof env);
	snprintf(text, sizeof text, "sender-%u@example.com", id);
	ga_attrs_put(&attrs, GA_ATTR_SENDER, ga_str_c(text));
	for (i = 0; i < nenv; i++) {
		snprintf(text, sizeof text, "rcpt-%u-%u@example.net", id, i);
		ga_attrs_put(&env[i], GA_ATTR_RECIPIENT, ga_str_c(text));
		lists[i] = (struct ga_str){ env[i].p, env[i].n };
	}
	m = ga_message_new(id, 1000000 + id, (struct ga_str){ attrs.p, attrs.n }, lists, NULL, nenv,
	    make_body(id, size));
	ga_attrs_free(&attrs);
	for (i = 0; i < nenv; i++)
		ga_attrs_free(&env[i]);
	return (m);
}

static void
committed(struct ga_worker *w, struct ga_spool_commit *c)
{
	struct rig_mail *k = c->arg;

	(void)w;
	assert_false(k->answered);
	k->answered = true;
	k->error = c->error;
	k->seq = k->m->seq;
	if (c->error == 0 && c->nends > 0)
		k->bounced->env[k->end.envelope].done_acked = true;
}

static struct rig_mail *
new_mail(struct rig *r, uint32_t nenv, size_t size)
{
	struct rig_mail *k = calloc(1, sizeof *k);

	assert_true(r->nmail < RIG_MAIL);
	k->r = r;
	k->id = r->nmail + 1;
	k->nenv = nenv;
	k->size = size;
	k->m = make_message(k->id, nenv, size);
	k->commit.message = k->m;
	k->commit.cb = committed;
	k->commit.arg = k;
	r->mail[r->nmail++] = k;
	return (k);
}

struct rig_mail *
rig_mail(struct rig *r, uint32_t nenv, size_t size)
{
	struct rig_mail *k = new_mail(r, nenv, size);

	spool_commit(r->s, loop, &k->commit);
	return (k);
}

struct rig_mail *
rig_bounce(struct rig *r, struct rig_mail *of, uint32_t envelope)
{
	struct rig_mail *k = new_mail(r, 1, 700);

	k->end = (struct ga_spool_end){ of->seq, envelope, 1 };
	k->bounced = of;
	k->commit.ends = &k->end;
	k->commit.nends = 1;
	of->env[envelope].ended_asked = true;
	spool_commit(r->s, loop, &k->commit);
	return (k);
}

static void
finished(struct ga_worker *w, struct ga_spool_done *d)
{
	(void)w;
	if (d->error == 0)
		((struct rig_env *)d->arg)->done_acked = true;
}

void
rig_done(struct rig *r, struct rig_mail *k, uint32_t envelope)
{
	struct rig_env *e = &k->env[envelope];

	if (e->done_asked || e->ended_asked)
		return;
	e->done_asked = true;
	e->done.end = (struct ga_spool_end){ k->seq, envelope, 0 };
	e->done.cb = finished;
	e->done.arg = e;
	spool_done(r->s, loop, &e->done);
}

static void
updated(struct ga_worker *w, struct ga_spool_update *u)
{
	struct rig_env *e = u->arg;

	(void)w;
	if (u->error == 0)
		e->attempts_acked = u->attempts;
	u->arg = NULL;
}

void
rig_update(struct rig *r, struct rig_mail *k, uint32_t envelope)
{
	static const char reply[] = "\x43\x00\x09\x00\x00\x00" "451 later";	/* GA_ATTR_LAST_REPLY */
	struct rig_env *e = &k->env[envelope];

	if (e->update.arg != NULL || e->done_asked)
		return;
	e->update = (struct ga_spool_update){
		.seq = k->seq, .envelope = envelope, .attempts = ++e->attempts_asked,
		.next_ms = 5000 + e->attempts_asked, .cb = updated, .arg = e,
		.attrs = { reply, sizeof reply - 1 },
	};
	spool_update(r->s, loop, &e->update);
}

static void
verify_envelope(const struct rig_env *e, const struct ga_envelope *found)
{
	struct ga_str reply;

	if (found->flags & GA_ENV_DONE) {
		assert_true(e->done_asked || e->ended_asked);
		return;
	}
	assert_false(e->done_acked);
	assert_in_range(found->attempts, e->attempts_acked, e->attempts_asked);
	if (found->attempts == 0)
		return;
	assert_int_equal(found->next_ms, 5000 + found->attempts);
	assert_true(ga_attr_get(found->attrs, GA_ATTR_LAST_REPLY, &reply));
	assert_int_equal(reply.n, 9);
}

static void
found_message(struct ga_worker *w, const struct ga_message *m, void *arg)
{
	struct rig *r = arg;
	struct rig_mail *k;
	char text[64];
	uint32_t i;

	(void)w;
	assert_false(r->ended);
	if (m->id == 0 || m->id > r->nmail) {
		r->strangers++;
		return;
	}
	k = r->mail[m->id - 1];
	assert_int_equal(m->nenvelopes, k->nenv);
	assert_int_equal(m->accepted_ms, 1000000 + k->id);
	assert_int_equal(m->body_size, k->size);
	assert_null(m->body);
	snprintf(text, sizeof text, "sender-%u@example.com", k->id);
	assert_true(ga_str_eq(m->sender, ga_str_c(text)));
	for (i = 0; i < k->nenv; i++) {
		snprintf(text, sizeof text, "rcpt-%u-%u@example.net", k->id, i);
		assert_true(ga_str_eq(m->envelopes[i].recipient, ga_str_c(text)));
		assert_int_equal(m->envelopes[i].random, k->m->envelopes[i].random);
		verify_envelope(&k->env[i], &m->envelopes[i]);
	}
	k->seq = m->seq;
	k->found++;
}

static void
end_of_recovery(struct ga_worker *w, void *arg)
{
	(void)w;
	((struct rig *)arg)->ended = true;
}

static void
told_state(struct ga_worker *w, struct ga_str key, struct ga_str value, void *arg)
{
	struct rig *r = arg;

	(void)w;
	if (ga_str_eq(key, GA_STR("k")) && value.n < sizeof r->state)
		snprintf(r->state, sizeof r->state, "%.*s", (int)value.n, value.p);
}

void
rig_recover(struct rig *r)
{
	struct ga_spool_recovery rec = { found_message, end_of_recovery, told_state, r };
	unsigned i;

	for (i = 0; i < r->nmail; i++)
		r->mail[i]->found = 0;
	r->strangers = 0;
	r->ended = false;
	r->state[0] = '\0';
	spool_recover(r->s, loop, 0, 1, &rec);
	rig_pump(r);
	assert_true(r->ended);
}

bool
rig_alive(const struct rig_mail *k)
{
	uint32_t i;

	if (!k->answered || k->error != 0)
		return (false);
	for (i = 0; i < k->nenv; i++)
		if (!k->env[i].done_asked && !k->env[i].ended_asked)
			return (true);
	return (false);
}

static bool
must_be_gone(const struct rig_mail *k)
{
	uint32_t i;

	for (i = 0; i < k->nenv; i++)
		if (!k->env[i].done_acked)
			return (false);
	return (true);
}

void
rig_verify(struct rig *r, bool may_lose)
{
	struct rig_mail *k;
	unsigned i;

	assert_int_equal(r->strangers, 0);
	for (i = 0; i < r->nmail; i++) {
		k = r->mail[i];
		if (k->found > 1 || (k->found > 0 && must_be_gone(k)) ||
		    (k->found == 0 && rig_alive(k) && !may_lose))
			fail_msg("message %u: found %u times, alive %d, gone %d", k->id, k->found,
			    rig_alive(k), must_be_gone(k));
	}
}

struct reading {
	struct ga_spool_read read;
	bool over;
};

static void
was_read(struct ga_worker *w, struct ga_spool_read *q)
{
	(void)w;
	((struct reading *)q->arg)->over = true;
}

static void
compare_body(const struct rig_mail *k, const struct ga_body *b)
{
	const struct ga_body_chunk *c;
	size_t at = 0, i;

	assert_int_equal(b->size, k->size);
	for (c = b->chunks; c != NULL; c = c->next)
		for (i = 0; i < c->n; i++, at++)
			if ((unsigned char)c->data[i] != octet(k->id, at))
				fail_msg("message %u: octet %zu is wrong", k->id, at);
	assert_int_equal(at, k->size);
}

void
rig_verify_bodies(struct rig *r, bool may_lose)
{
	struct reading q;
	unsigned i;

	for (i = 0; i < r->nmail; i++) {
		if (r->mail[i]->found == 0)
			continue;
		memset(&q, 0, sizeof q);
		q.read.seq = r->mail[i]->seq;
		q.read.body_limit = UINT64_MAX;
		q.read.cb = was_read;
		q.read.arg = &q;
		spool_read(r->s, loop, &q.read);
		rig_pump(r);
		assert_true(q.over);
		if (may_lose && q.read.error != 0)
			continue;
		assert_int_equal(q.read.error, 0);
		compare_body(r->mail[i], q.read.message->body);
		ga_message_unref(q.read.message);
	}
}
