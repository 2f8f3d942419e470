/*
 * pause.c - pauses: which mail is held back, deferred or thrown away for now.
 *
 * One table for all loops, behind a lock; an attempt looks at it when its route is
 * known, and pays one atomic read while there is no pause.  So a pause, its end and a
 * reload act at the next attempt.  A new pause calls back what waits in groups; the end
 * of one makes what is held due again.
 *
 * Pauses are kept by the spool, each under a key made of what identifies it; every loop
 * is told of all of them before its first message, so that none starts too early.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "queue.h"

#define STATE_PREFIX "pause/"

struct pause {
	struct ga_pause p;		/* its strings are this struct's */
	char *key;			/* in the spool, too */
	uint64_t serial;		/* names it in a recall: it may be gone by then */
	struct pause *next;		/* of the same kind and name */
};

/* All pauses of one kind and name. */
struct named {
	UT_hash_handle hh;
	struct pause *first;
	char *key;			/* kind, '/', name */
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct named *table;		/* under the lock */
static uint64_t last_serial;		/* under the lock */
static _Atomic uint32_t npauses;

static const char *const kinds[] = {
	[GA_PAUSE_SENDER] = "sender", [GA_PAUSE_VIRTUAL_MTA] = "virtual_mta",
	[GA_PAUSE_SEND] = "send", [GA_PAUSE_DUMP] = "dump",
};

/* A pause by the From field is one of its own. */
static const char *
label(enum ga_pause_kind kind, bool from_header)
{
	return from_header ? "from" : kinds[kind];
}

uint32_t
q_pauses(void)
{
	return atomic_load_explicit(&npauses, memory_order_relaxed);
}

/* --- the table; the lock is held --- */

static struct named *
find_named(const char *kind, struct ga_str name)
{
	char key[1024];
	int n = snprintf(key, sizeof key, "%s/%.*s", kind, (int)name.n, name.p);
	struct named *found = NULL;

	if (n > 0 && (size_t)n < sizeof key)
		HASH_FIND_STR(table, key, found);
	return found;
}

static struct ga_str
copy(struct ga_str s)
{
	char *p = ga_xcalloc(1, s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	return (struct ga_str){ p, s.n };
}

static void
pause_free(struct pause *k)
{
	free((void *)(uintptr_t)k->p.name.p);
	free((void *)(uintptr_t)k->p.domain.p);
	free((void *)(uintptr_t)k->p.scope.p);
	free((void *)(uintptr_t)k->p.reason.p);
	free(k->key);
	free(k);
}

static char *
key_of(const struct ga_pause *p)
{
	char *key;

	if (asprintf(&key, STATE_PREFIX "%s/%.*s/%.*s/%.*s", label(p->kind, p->from_header), (int)p->name.n, p->name.p,
	    (int)p->domain.n, p->domain.p, (int)p->scope.n, p->scope.p) < 0)
		abort();
	return key;
}

static bool
forget(const struct ga_pause *p, const char *key)
{
	struct named *n = find_named(label(p->kind, p->from_header), p->name);
	struct pause **at, *k;

	if (n == NULL)
		return false;
	for (at = &n->first; *at != NULL && strcmp((*at)->key, key) != 0; at = &(*at)->next)
		;
	if ((k = *at) == NULL)
		return false;
	*at = k->next;
	pause_free(k);
	npauses--;
	if (n->first == NULL) {
		HASH_DEL(table, n);
		free(n->key);
		free(n);
	}
	return true;
}

/* In place of the one with the same key; its serial. */
static uint64_t
remember(const struct ga_pause *p)
{
	struct pause *k = ga_xcalloc(1, sizeof *k);
	struct named *n;

	k->p = *p;
	k->p.name = copy(p->name);
	k->p.domain = copy(p->domain);
	k->p.scope = copy(p->scope);
	k->p.reason = copy(p->reason);
	k->key = key_of(p);
	k->serial = ++last_serial;
	forget(p, k->key);
	n = find_named(label(p->kind, p->from_header), p->name);
	if (n == NULL) {
		n = ga_xcalloc(1, sizeof *n);
		if (asprintf(&n->key, "%s/%.*s", label(p->kind, p->from_header), (int)p->name.n, p->name.p) < 0)
			abort();
		HASH_ADD_KEYPTR(hh, table, n->key, strlen(n->key), n);
	}
	k->next = n->first;
	n->first = k;
	npauses++;
	return k->serial;
}

/* --- what meets what --- */

/* "ip2pd7": a number, then the rule. */
static bool
in_scope(struct ga_str key, struct ga_str scope)
{
	const char *at;

	if (scope.n == 0 || key.n <= scope.n)
		return false;
	at = key.p + (key.n - scope.n);
	return at[-1] >= '0' && at[-1] <= '9' && memcmp(at, scope.p, scope.n) == 0;
}

static bool
sender_meets(const struct ga_pause *p, const struct ga_route *r, uint64_t now_ms)
{
	if (p->until_ms != 0 && p->until_ms <= now_ms)
		return false;
	return (p->domain.n > 0 && ga_str_caseeq(p->domain, r->domain)) || in_scope(r->group_key, p->scope);
}

static const struct pause *
find_mta(struct ga_str named, const struct ga_route *r, uint64_t now_ms)
{
	char id[16];
	const struct ga_str names[] = { named, r->virtual_mta, { id, 0 } };

	for (unsigned i = 0; i < 3; i++) {
		struct ga_str name = names[i];
		const struct named *n;

		if (i == 2)
			name.n = r->mta_id == 0 ? 0 : (size_t)snprintf(id, sizeof id, "%u", (unsigned)r->mta_id);
		n = name.n > 0 ? find_named(kinds[GA_PAUSE_VIRTUAL_MTA], name) : NULL;
		if (n != NULL && (n->first->p.until_ms == 0 || n->first->p.until_ms > now_ms))
			return n->first;
	}
	return NULL;
}

static const struct pause *
find_send(enum ga_pause_kind kind, struct ga_str send, uint64_t now_ms)
{
	const struct named *n = send.n > 0 ? find_named(kinds[kind], send) : NULL;

	if (n == NULL || (n->first->p.until_ms != 0 && n->first->p.until_ms <= now_ms))
		return NULL;
	return n->first;
}

static const struct pause *
find_sender(bool from_header, struct ga_str sender, const struct ga_route *r, uint64_t now_ms)
{
	char lower[256];
	const struct named *n;

	if (sender.n == 0 || sender.n >= sizeof lower)
		return NULL;
	for (size_t i = 0; i < sender.n; i++)
		lower[i] = (char)(sender.p[i] >= 'A' && sender.p[i] <= 'Z' ? sender.p[i] + 32 : sender.p[i]);
	n = find_named(label(GA_PAUSE_SENDER, from_header), (struct ga_str){ lower, sender.n });
	for (const struct pause *k = n != NULL ? n->first : NULL; k != NULL; k = k->next)
		if (sender_meets(&k->p, r, now_ms))
			return k;
	return NULL;
}

/* Its share of the attempts. */
static bool
holds_back(const struct pause *k)
{
	return k != NULL && (k->p.percent >= 100 || ga_random32() < k->p.percent / 100 * 4294967296.0);
}

/* Mail that would be thrown away is not held first. */
enum q_paused
q_pause_meets(const struct q_pausable *m, uint64_t *until_ms)
{
	enum q_paused what = Q_GOES;
	const struct pause *k;

	if (q_pauses() == 0)
		return Q_GOES;
	pthread_rwlock_rdlock(&lock);
	if ((k = find_send(GA_PAUSE_DUMP, m->send, m->now_ms)) != NULL) {
		what = Q_DUMPED;
	} else if ((k = find_send(GA_PAUSE_SEND, m->send, m->now_ms)) != NULL ||
	    (k = find_mta(m->virtual_mta, m->route, m->now_ms)) != NULL) {
		what = Q_HELD_BACK;
		*until_ms = k->p.until_ms;
	} else if (holds_back(find_sender(false, m->sender, m->route, m->now_ms))) {
		what = Q_DEFERRED;
	} else if (holds_back(find_sender(true, m->from, m->route, m->now_ms))) {
		what = Q_DEFERRED_BY_FROM;
	}
	pthread_rwlock_unlock(&lock);
	return what;
}

/* --- acting on what waits --- */

struct act {
	struct ga_post post;
	uint64_t serial;		/* 0: one has ended */
};

static const struct pause *
by_serial(uint64_t serial)
{
	for (const struct named *n = table; n != NULL; n = n->hh.next)
		for (const struct pause *k = n->first; k != NULL; k = k->next)
			if (k->serial == serial)
				return k;
	return NULL;
}

/* On a group's loop.  What is called back and not met goes on where it was, so that
 * where the ticket does not tell, it comes back. */
static bool
ticket_meets(const struct ga_ticket *t, void *arg)
{
	const struct pause *k;
	bool meets = false;

	pthread_rwlock_rdlock(&lock);
	k = by_serial((uint64_t)(uintptr_t)arg);
	if (k != NULL)
		switch (k->p.kind) {
		case GA_PAUSE_SENDER:
			meets = sender_meets(&k->p, t->route, 0);
			break;
		case GA_PAUSE_VIRTUAL_MTA:
			meets = true;
			break;
		case GA_PAUSE_SEND:
		case GA_PAUSE_DUMP:
			meets = t->send_key == q_send_key(k->p.name);
			break;
		}
	pthread_rwlock_unlock(&lock);
	return meets;
}

static void
act(struct ga_worker *w, struct ga_post *post)
{
	struct act *a = GA_CONTAINER(post, struct act, post);
	struct q_loop *l = q_loop(w);

	if (l->worker != NULL && !l->draining) {
		if (a->serial != 0)
			q_throttle->recall(w, ticket_meets, (void *)(uintptr_t)a->serial);
		else
			q_look_again(l);
	}
	free(a);
}

static void
act_everywhere(uint64_t serial)
{
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct act *a = ga_xcalloc(1, sizeof *a);

		a->post.fn = act;
		a->serial = serial;
		ga_loop_post(ga_worker_get(i), &a->post);
	}
}

/* --- kept over a restart --- */

static void
put_str(struct json_object *o, const char *key, struct ga_str s)
{
	json_object_object_add(o, key, json_object_new_string_len(s.n > 0 ? s.p : "", (int)s.n));
}

static struct ga_str
get_str(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v))
		return (struct ga_str){ "", 0 };
	return (struct ga_str){ json_object_get_string(v), (size_t)json_object_get_string_len(v) };
}

static void
keep(struct ga_worker *w, const struct ga_pause *p)
{
	struct json_object *o = json_object_new_object();
	char *key = key_of(p);

	json_object_object_add(o, "kind", json_object_new_int(p->kind));
	if (p->from_header)
		json_object_object_add(o, "from_header", json_object_new_boolean(true));
	put_str(o, "name", p->name);
	put_str(o, "domain", p->domain);
	put_str(o, "scope", p->scope);
	put_str(o, "reason", p->reason);
	json_object_object_add(o, "percent", json_object_new_double(p->percent));
	json_object_object_add(o, "until_ms", json_object_new_int64((int64_t)p->until_ms));
	q_spool->put_state(w, ga_str_c(key), ga_str_c(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN)));
	json_object_put(o);
	free(key);
}

void
q_pause_kept(struct q_loop *l, struct ga_str key, struct ga_str value)
{
	struct json_tokener *tok;
	struct json_object *o, *v;
	struct ga_pause p = { .kind = GA_PAUSE_SENDER };
	int kind = -1;

	if (key.n < sizeof STATE_PREFIX - 1 || memcmp(key.p, STATE_PREFIX, sizeof STATE_PREFIX - 1) != 0)
		return;
	tok = json_tokener_new();
	o = json_tokener_parse_ex(tok, value.p, (int)value.n);
	json_tokener_free(tok);
	if (json_object_object_get_ex(o, "kind", &v))
		kind = json_object_get_int(v);
	if (kind < GA_PAUSE_SENDER || kind > GA_PAUSE_DUMP) {
		ga_log(q_inst, GA_ERR, "GA-QUE-0005", "a pause that the spool kept cannot be read, and does not hold: %.*s",
		    (int)key.n, key.p);
		json_object_put(o);
		return;
	}
	p.kind = (enum ga_pause_kind)kind;
	p.from_header = json_object_object_get_ex(o, "from_header", &v) && json_object_get_boolean(v);
	p.name = get_str(o, "name");
	p.domain = get_str(o, "domain");
	p.scope = get_str(o, "scope");
	p.reason = get_str(o, "reason");
	if (json_object_object_get_ex(o, "percent", &v))
		p.percent = json_object_get_double(v);
	if (json_object_object_get_ex(o, "until_ms", &v))
		p.until_ms = (uint64_t)json_object_get_int64(v);
	if (p.until_ms != 0 && p.until_ms <= q_wall_ms(l)) {
		q_spool->put_state(l->worker, key, (struct ga_str){ "", 0 });
	} else {
		pthread_rwlock_wrlock(&lock);
		remember(&p);
		pthread_rwlock_unlock(&lock);
	}
	json_object_put(o);
}

/* --- the service --- */

void
q_pause(struct ga_worker *w, const struct ga_pause *p)
{
	uint64_t serial;

	pthread_rwlock_wrlock(&lock);
	serial = remember(p);
	pthread_rwlock_unlock(&lock);
	keep(w, p);
	ga_log(q_inst, GA_NOTICE, "GA-QUE-0007", "paused: %s %.*s%s%.*s%.*s: %.*s", label(p->kind, p->from_header),
	    (int)p->name.n, p->name.p, p->kind == GA_PAUSE_SENDER ? " to " : "", (int)p->domain.n, p->domain.p,
	    (int)p->scope.n, p->scope.p, (int)p->reason.n, p->reason.p);
	act_everywhere(serial);
}

bool
q_resume(struct ga_worker *w, const struct ga_pause *p)
{
	char *key = key_of(p);
	bool was;

	pthread_rwlock_wrlock(&lock);
	was = forget(p, key);
	pthread_rwlock_unlock(&lock);
	if (was) {
		q_spool->put_state(w, ga_str_c(key), (struct ga_str){ "", 0 });
		ga_log(q_inst, GA_NOTICE, "GA-QUE-0008", "resumed: %s %.*s", label(p->kind, p->from_header),
		    (int)p->name.n, p->name.p);
		act_everywhere(0);
	}
	free(key);
	return was;
}

void
q_pauses_end(void)
{
	struct named *n, *tmp;

	HASH_ITER(hh, table, n, tmp) {
		for (struct pause *k = n->first, *next; k != NULL; k = next) {
			next = k->next;
			pause_free(k);
		}
		HASH_DEL(table, n);
		free(n->key);
		free(n);
	}
	npauses = 0;
}
