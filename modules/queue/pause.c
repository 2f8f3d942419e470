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

#include <greenarrow/json.h>
#include <greenarrow/mail.h>

#include "queue.h"

#define STATE_PREFIX "pause/"
#define KEY_ROOM 1024
#define SWEEP_MS 1000		/* ends of pauses are looked for at most so often */

struct pause {
	UT_hash_handle hh, hh_serial;
	struct ga_pause p;		/* its strings are this struct's */
	char *key;			/* "kind/name/domain/scope" */
	uint64_t serial;		/* names it in a recall: it may be gone by then */
	uint64_t since_ms;		/* wall clock */
};

/* Keys that pauses, their ends or the spool have told of while loops still hear what it kept. */
struct settled {
	UT_hash_handle hh;
	char key[];
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct pause *table, *serials;	/* under the lock, as all down to ... */
static struct settled *settled;
static unsigned nrecovered;		/* loops that have heard all */
static uint64_t last_serial;		/* ... here */
static _Atomic uint32_t npauses;

static struct ga_timer *sweep_timer;	/* the main loop's */
static uint64_t sweep_ms;		/* wall clock; 0: not armed.  Main loop */

static const char *const kinds[] = {
	[GA_PAUSE_SENDER] = "sender", [GA_PAUSE_VIRTUAL_MTA] = "virtual_mta",
	[GA_PAUSE_SEND] = "send", [GA_PAUSE_DUMP] = "dump",
};
#define NKINDS (sizeof kinds / sizeof kinds[0])

/* A pause by the From field is one of its own. */
static const char *
label(const struct ga_pause *p)
{
	return p->kind == GA_PAUSE_SENDER && p->from_header ? "from" : kinds[p->kind];
}

const char *
q_pause_kind(enum ga_pause_kind kind)
{
	return kinds[kind];
}

uint32_t
q_pauses(void)
{
	return atomic_load_explicit(&npauses, memory_order_relaxed);
}

/* --- the table; the lock is held --- */

/* Names of domains and VirtualMTAs are without case. */
static size_t
put(char *key, size_t at, struct ga_str s, bool fold)
{
	for (size_t i = 0; i < s.n; i++)
		key[at++] = (char)(fold && s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] + 32 : s.p[i]);
	return at;
}

/* Its octets, and a NUL behind them; 0: no pause has so long a name. */
static size_t
make_key(char key[KEY_ROOM], const struct ga_pause *p)
{
	size_t n;

	if (p->name.n + p->domain.n + p->scope.n > KEY_ROOM - 32)
		return 0;
	n = put(key, 0, ga_str_c(label(p)), false);
	key[n++] = '/';
	n = put(key, n, p->name, p->kind == GA_PAUSE_SENDER || p->kind == GA_PAUSE_VIRTUAL_MTA);
	key[n++] = '/';
	n = put(key, n, p->domain, true);
	key[n++] = '/';
	n = put(key, n, p->scope, false);
	key[n] = '\0';
	return n;
}

static struct pause *
find(const struct ga_pause *p)
{
	char key[KEY_ROOM];
	size_t n = make_key(key, p);
	struct pause *k = NULL;

	if (n > 0)
		HASH_FIND(hh, table, key, n, k);
	return k;
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
	free((void *)(uintptr_t)k->p.who.p);
	free(k->key);
	free(k);
}

static void
forget(struct pause *k)
{
	HASH_DELETE(hh, table, k);
	HASH_DELETE(hh_serial, serials, k);
	pause_free(k);
	npauses--;
}

/* In place of the one with the same key, which has lasted since then. */
static struct pause *
remember(const struct ga_pause *p, const char *key, uint64_t since_ms)
{
	struct pause *k = ga_xcalloc(1, sizeof *k), *before = find(p);

	k->p = *p;
	k->p.name = copy(p->name);
	k->p.domain = copy(p->domain);
	k->p.scope = copy(p->scope);
	k->p.reason = copy(p->reason);
	k->p.who = copy(p->who);
	k->key = strdup(key);
	k->serial = ++last_serial;
	k->since_ms = before != NULL && before->since_ms < since_ms ? before->since_ms : since_ms;
	if (before != NULL)
		forget(before);
	HASH_ADD_KEYPTR(hh, table, k->key, strlen(k->key), k);
	HASH_ADD(hh_serial, serials, serial, sizeof k->serial, k);
	npauses++;
	return k;
}

/* What the spool kept under this key is of the past.  True: it was before. */
static bool
settle(const char *key)
{
	struct settled *s;

	if (nrecovered == ga_worker_count())
		return true;
	HASH_FIND_STR(settled, key, s);
	if (s != NULL)
		return true;
	s = ga_xcalloc(1, sizeof *s + strlen(key) + 1);
	memcpy(s->key, key, strlen(key) + 1);
	HASH_ADD_STR(settled, key, s);
	return false;
}

static void
forget_settled(void)
{
	struct settled *s, *tmp;

	HASH_ITER(hh, settled, s, tmp) {
		HASH_DEL(settled, s);
		free(s);
	}
}

/* --- what meets what --- */

/* "pd7" of "ip2pd7": what is behind the kind and the number of its VirtualMTA. */
static struct ga_str
rule_of(struct ga_str key)
{
	size_t i = 0;

	while (i < key.n && key.p[i] >= 'a' && key.p[i] <= 'z')
		i++;
	while (i > 0 && i < key.n && key.p[i] >= '0' && key.p[i] <= '9')
		i++;
	return (struct ga_str){ key.p + i, key.n - i };
}

static const struct pause *
lasting(const struct pause *k, uint64_t now_ms)
{
	return k != NULL && (k->p.until_ms == 0 || k->p.until_ms > now_ms) ? k : NULL;
}

static const struct pause *
find_named(enum ga_pause_kind kind, struct ga_str name, uint64_t now_ms)
{
	return name.n > 0 ? lasting(find(&(struct ga_pause){ .kind = kind, .name = name }), now_ms) : NULL;
}

/* Of the name that the message has, of the one that it goes by, and of its mta_id. */
static const struct pause *
find_mta(const struct q_pausable *m)
{
	const struct ga_route *r = m->route;
	char id[16];
	struct ga_str number = { id, (size_t)snprintf(id, sizeof id, "%u", (unsigned)r->mta_id) };
	const struct pause *k = find_named(GA_PAUSE_VIRTUAL_MTA, m->virtual_mta, m->now_ms);

	if (k == NULL)
		k = find_named(GA_PAUSE_VIRTUAL_MTA, r->virtual_mta, m->now_ms);
	if (k == NULL && r->mta_id != 0)
		k = find_named(GA_PAUSE_VIRTUAL_MTA, number, m->now_ms);
	return k;
}

static const struct pause *
find_sender(const struct q_pausable *m, bool from_header)
{
	struct ga_pause p = { .kind = GA_PAUSE_SENDER, .from_header = from_header,
		.name = from_header ? m->from : m->sender, .domain = m->route->domain };
	const struct pause *k;

	if (p.name.n == 0)
		return NULL;
	k = p.domain.n > 0 ? lasting(find(&p), m->now_ms) : NULL;
	if (k != NULL)
		return k;
	p.domain = (struct ga_str){ "", 0 };
	p.scope = rule_of(m->route->group_key);
	return p.scope.n > 0 ? lasting(find(&p), m->now_ms) : NULL;
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
	if (find_named(GA_PAUSE_DUMP, m->send, m->now_ms) != NULL) {
		what = Q_DUMPED;
	} else if ((k = find_named(GA_PAUSE_SEND, m->send, m->now_ms)) != NULL ||
	    (k = find_mta(m)) != NULL) {
		what = Q_HELD_BACK;
		*until_ms = k->p.until_ms;
	} else if (holds_back(find_sender(m, false))) {
		what = Q_DEFERRED;
	} else if (holds_back(find_sender(m, true))) {
		what = Q_DEFERRED_BY_FROM;
	}
	pthread_rwlock_unlock(&lock);
	return what;
}

static void
say(struct json_object *facts, const struct pause *k, bool holds, const char *what, const char *subject)
{
	char since[GA_DATE_ROOM], share[48] = "";
	const struct ga_pause *p = &k->p;

	if (p->kind == GA_PAUSE_SENDER && p->percent < 100)
		snprintf(share, sizeof share, ", %g %% of the attempts", p->percent);
	ga_explain_say(facts, &(struct ga_fact){ .what = what, .holds = holds, .until_ms = p->until_ms },
	    "%s %.*s%s%.*s%.*s %s since %s%s%s%.*s%s%.*s.", subject, (int)p->name.n, p->name.p,
	    p->kind == GA_PAUSE_SENDER ? " to " : "", (int)p->domain.n, p->domain.p, (int)p->scope.n, p->scope.p,
	    p->kind == GA_PAUSE_DUMP ? "is thrown away" : "is paused", ga_date_rfc3339(k->since_ms, since), share,
	    p->who.n > 0 ? ", by " : "", (int)p->who.n, p->who.p,
	    p->reason.n > 0 ? ": " : "", (int)p->reason.n, p->reason.p);
}

void
q_pause_explain(const struct q_pausable *m, bool holds, struct json_object *facts)
{
	const struct pause *k;

	pthread_rwlock_rdlock(&lock);
	if ((k = find_named(GA_PAUSE_DUMP, m->send, m->now_ms)) != NULL)
		say(facts, k, holds, "dump", "Mail of the send");
	if ((k = find_named(GA_PAUSE_SEND, m->send, m->now_ms)) != NULL)
		say(facts, k, holds, "pause_send", "Mail of the send");
	if ((k = find_mta(m)) != NULL)
		say(facts, k, holds, "pause_virtual_mta", "Mail of the VirtualMTA");
	if ((k = find_sender(m, false)) != NULL)
		say(facts, k, holds, "pause_sender", "Mail from the domain");
	if ((k = find_sender(m, true)) != NULL)
		say(facts, k, holds, "pause_sender", "Mail whose From field is of the domain");
	pthread_rwlock_unlock(&lock);
}

/* --- acting on what waits --- */

struct act {
	struct ga_post post;
	uint64_t serial;		/* of one that has begun; 0: none */
	bool ended;			/* one has ended, or another took its place */
};

static bool
mta_meets(const struct ga_pause *p, const struct ga_ticket *t)
{
	const struct q_attempt *a = Q_ATTEMPT_OF(t);
	char id[16];
	struct ga_str number = { id, (size_t)snprintf(id, sizeof id, "%u", (unsigned)t->route->mta_id) };

	return ga_str_caseeq(p->name, t->route->virtual_mta) || ga_str_hash(p->name, true) == a->mta_key ||
	    (t->route->mta_id != 0 && ga_str_eq(p->name, number));
}

static bool
sender_meets(const struct ga_pause *p, const struct ga_ticket *t)
{
	return p->domain.n > 0 ? ga_str_caseeq(p->domain, t->route->domain) :
	    ga_str_eq(p->scope, rule_of(t->route->group_key));
}

/* On a group's loop.  What is called back and not met goes on where it was: the ticket
 * tells of senders' domains and sends only what their hashes tell. */
static bool
ticket_meets(const struct ga_ticket *t, void *arg)
{
	uint64_t serial = (uint64_t)(uintptr_t)arg;
	const struct pause *k;
	bool meets = false;

	pthread_rwlock_rdlock(&lock);
	HASH_FIND(hh_serial, serials, &serial, sizeof serial, k);
	if (k != NULL)
		switch (k->p.kind) {
		case GA_PAUSE_SENDER:
			meets = sender_meets(&k->p, t);
			break;
		case GA_PAUSE_VIRTUAL_MTA:
			meets = mta_meets(&k->p, t);
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
		if (a->ended)
			q_look_again(l);
	}
	free(a);
}

static void
act_everywhere(uint64_t serial, bool ended)
{
	for (unsigned i = 0; i < ga_worker_count(); i++) {
		struct act *a = ga_xcalloc(1, sizeof *a);

		a->post.fn = act;
		a->serial = serial;
		a->ended = ended;
		ga_loop_post(ga_worker_get(i), &a->post);
	}
}

/* --- kept over a restart --- */

static void
keep(struct ga_worker *w, const char *key, struct ga_str value)
{
	char name[sizeof STATE_PREFIX + KEY_ROOM];

	snprintf(name, sizeof name, STATE_PREFIX "%s", key);
	q_spool->put_state(w, ga_str_c(name), value);
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
keep_pause(struct ga_worker *w, const char *key, const struct ga_pause *p, uint64_t since_ms)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "kind", json_object_new_int(p->kind));
	if (p->from_header)
		ga_json_put_bool(o, "from_header", true);
	ga_json_put_str(o, "name", p->name);
	ga_json_put_str(o, "domain", p->domain);
	ga_json_put_str(o, "scope", p->scope);
	ga_json_put_str(o, "reason", p->reason);
	ga_json_put_str(o, "who", p->who);
	json_object_object_add(o, "percent", json_object_new_double(p->percent));
	ga_json_put_int(o, "since_ms", since_ms);
	ga_json_put_int(o, "until_ms", p->until_ms);
	keep(w, key, ga_str_c(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN)));
	json_object_put(o);
}

static uint64_t
get_ms(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? (uint64_t)json_object_get_int64(v) : 0;
}

/* False: it cannot be read. */
static bool
read_pause(struct json_object *o, struct ga_pause *p)
{
	struct json_object *v;
	int kind = json_object_object_get_ex(o, "kind", &v) ? json_object_get_int(v) : -1;

	if (kind < 0 || kind >= (int)NKINDS)
		return false;
	*p = (struct ga_pause){ .kind = (enum ga_pause_kind)kind, .name = get_str(o, "name"),
		.domain = get_str(o, "domain"), .scope = get_str(o, "scope"), .reason = get_str(o, "reason"),
		.who = get_str(o, "who"), .until_ms = get_ms(o, "until_ms") };
	p->from_header = json_object_object_get_ex(o, "from_header", &v) && json_object_get_boolean(v);
	if (json_object_object_get_ex(o, "percent", &v))
		p->percent = json_object_get_double(v);
	return true;
}

static void sweep_at(uint64_t until_ms);

void
q_pause_kept(struct q_loop *l, struct ga_str name, struct ga_str value)
{
	struct json_tokener *tok;
	struct json_object *o;
	struct ga_pause p;
	char key[KEY_ROOM];

	if (!ga_str_starts(name, GA_STR(STATE_PREFIX)))
		return;
	tok = json_tokener_new();
	o = json_tokener_parse_ex(tok, value.p, (int)value.n);
	json_tokener_free(tok);
	if (!read_pause(o, &p) || make_key(key, &p) == 0) {
		ga_log(q_inst, GA_ERR, "GA-QUE-0005", "a pause that the spool kept cannot be read, and does not hold: %.*s",
		    (int)name.n, name.p);
		json_object_put(o);
		return;
	}
	pthread_rwlock_wrlock(&lock);
	/* every loop hears of it; what has been said since counts */
	if (!settle(key)) {
		uint64_t since = get_ms(o, "since_ms");

		remember(&p, key, since != 0 ? since : q_wall_ms(l));
		if (p.until_ms != 0)
			sweep_at(p.until_ms);
	}
	pthread_rwlock_unlock(&lock);
	json_object_put(o);
}

void
q_pauses_recovered(void)
{
	pthread_rwlock_wrlock(&lock);
	if (++nrecovered == ga_worker_count())
		forget_settled();
	pthread_rwlock_unlock(&lock);
}

bool
q_pauses_told(void)
{
	bool told;

	pthread_rwlock_rdlock(&lock);
	told = nrecovered > 0;
	pthread_rwlock_unlock(&lock);
	return told;
}

/* --- ends --- */

struct sweep_post {
	struct ga_post post;
	uint64_t until_ms;
};

/* Main loop. */
static void
arm(uint64_t until_ms)
{
	uint64_t now = ga_wall_ms();

	if (sweep_ms != 0 && sweep_ms <= until_ms)
		return;
	sweep_ms = until_ms;
	ga_timer_arm(sweep_timer, until_ms > now + SWEEP_MS ? until_ms - now : SWEEP_MS, 0);
}

static void
arm_there(struct ga_worker *w, struct ga_post *post)
{
	struct sweep_post *s = GA_CONTAINER(post, struct sweep_post, post);

	(void)w;
	arm(s->until_ms);
	free(s);
}

static void
sweep_at(uint64_t until_ms)
{
	struct sweep_post *s = ga_xcalloc(1, sizeof *s);

	s->until_ms = until_ms;
	s->post.fn = arm_there;
	ga_loop_post(ga_worker_main(), &s->post);
}

/* Those that have ended leave table and spool; what they held is due by its own time. */
static void
sweep(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	uint64_t now = ga_wall_ms(), next = 0;
	struct pause *k, *tmp;

	(void)inst;
	(void)arg;
	sweep_ms = 0;
	pthread_rwlock_wrlock(&lock);
	HASH_ITER(hh, table, k, tmp) {
		if (k->p.until_ms == 0)
			continue;
		if (k->p.until_ms > now) {
			if (next == 0 || k->p.until_ms < next)
				next = k->p.until_ms;
			continue;
		}
		keep(w, k->key, (struct ga_str){ "", 0 });
		forget(k);
	}
	pthread_rwlock_unlock(&lock);
	if (next != 0)
		arm(next);
}

void
q_pauses_init(struct ga_inst *inst)
{
	sweep_timer = ga_timer_new(inst, ga_worker_main(), sweep, NULL);
	sweep_ms = 0;
	nrecovered = 0;
}

/* --- the service --- */

void
q_pause(struct ga_worker *w, const struct ga_pause *p)
{
	char key[KEY_ROOM];
	uint64_t serial, since;
	const struct pause *k;
	bool again;

	if (make_key(key, p) == 0) {
		ga_log(q_inst, GA_WARN, "GA-QUE-0006", "no pause of %s %.*s: its name is too long", label(p),
		    40, p->name.p);
		return;
	}
	pthread_rwlock_wrlock(&lock);
	settle(key);
	again = find(p) != NULL;
	k = remember(p, key, ga_wall_ms());
	serial = k->serial;
	since = k->since_ms;
	keep_pause(w, key, p, since);	/* in the order of the table's changes */
	pthread_rwlock_unlock(&lock);
	if (p->until_ms != 0)
		sweep_at(p->until_ms);
	ga_log(q_inst, GA_NOTICE, "GA-QUE-0007", "paused: %s %.*s%s%.*s%.*s%s%.*s: %.*s", label(p),
	    (int)p->name.n, p->name.p, p->kind == GA_PAUSE_SENDER ? " to " : "", (int)p->domain.n, p->domain.p,
	    (int)p->scope.n, p->scope.p, p->who.n > 0 ? " by " : "", (int)p->who.n, p->who.p,
	    (int)p->reason.n, p->reason.p);
	act_everywhere(serial, again);
}

bool
q_resume(struct ga_worker *w, const struct ga_pause *p)
{
	char key[KEY_ROOM];
	struct pause *k;

	if (make_key(key, p) == 0)
		return false;
	pthread_rwlock_wrlock(&lock);
	k = find(p);
	if (k != NULL) {
		settle(key);
		forget(k);
		keep(w, key, (struct ga_str){ "", 0 });
	}
	pthread_rwlock_unlock(&lock);
	if (k != NULL) {
		ga_log(q_inst, GA_NOTICE, "GA-QUE-0008", "resumed: %s %.*s", label(p),
		    (int)p->name.n, p->name.p);
		act_everywhere(0, true);
	}
	return k != NULL;
}

void
q_pauses_each(void (*fn)(const struct ga_pause *, uint64_t since_ms, void *arg), void *arg)
{
	pthread_rwlock_rdlock(&lock);
	for (const struct pause *k = table; k != NULL; k = k->hh.next)
		if (lasting(k, ga_wall_ms()) != NULL)
			fn(&k->p, k->since_ms, arg);
	pthread_rwlock_unlock(&lock);
}

void
q_pauses_end(void)
{
	struct pause *k, *tmp;

	HASH_ITER(hh, table, k, tmp)
		forget(k);
	forget_settled();
	nrecovered = 0;
}
