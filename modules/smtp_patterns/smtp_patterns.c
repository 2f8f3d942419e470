/*
 * smtp_patterns.c - the module: what is done when a host says something in particular.
 *
 * Patterns (POSIX extended, without case) are tried against the reply of each attempt that
 * ends, in the hook `result`, on the loop of its throttle group.  A match rewrites the result,
 * begins the group's backoff or pauses a sender's domain for the recipient's.  Of each of these
 * three the first match wins; smtp_pattern comes before the directives that do one thing.
 * A scope without patterns is not asked (`wants`).
 *
 * Owns, on each loop of an instance: the rules of each scope that it has met (scopes with
 * the same lists share them), and the compiled patterns, one for each distinct text.  Both
 * point into the snapshot that the instance is of, and are freed with the instance.
 *
 * Limit: where the message had not been read when its attempt failed (a connection that is
 * refused at once), its sender is not known, and nothing is paused.
 */
#include "smtp_patterns.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include <greenarrow/mail.h>
#include <greenarrow/run.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/queue.h>

#define GA_CF_SELF_ struct smtp_patterns_conf
GA_CONF_SCHEMA(smtp_patterns_conf, SMTP_PATTERNS_DIRECTIVES);

#define LOG_EVERY_MS 1000
#define S(str) (int)(str).n, (str).p

/* A rule where it is in use. */
struct rule {
	struct pat_rule r;
	size_t row;			/* of its directive, for its place in the file */
	const regex_t *compiled;
	uint64_t logged_ms;		/* 0: never */
	unsigned unlogged;
};

struct pattern {
	struct ga_str text;
	regex_t re;
	UT_hash_handle hh;
};

struct scope {
	struct smtp_patterns_conf lists;	/* the key: which lists these rules are */
	struct rule *rules;
	size_t n;
	UT_hash_handle hh;
};

struct worker {
	struct scope *scopes;
	struct pattern *patterns;	/* by text */
	const struct ga_throttle *throttle;
	const struct ga_queue *queue;
};

/* --- what a scope's rules are --- */

static const regex_t *
compiled(struct worker *l, struct ga_str text)
{
	struct pattern *p;
	char *copy;
	int failed;

	HASH_FIND(hh, l->patterns, text.p, text.n, p);
	if (p != NULL)
		return &p->re;
	p = ga_xcalloc(1, sizeof *p);
	p->text = text;
	copy = ga_xcalloc(1, text.n + 1);
	memcpy(copy, text.p, text.n);
	failed = regcomp(&p->re, copy, REG_EXTENDED | REG_ICASE | REG_NOSUB);
	free(copy);
	if (failed != 0) {		/* is=regex has seen it: there is no memory */
		free(p);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, l->patterns, p->text.p, p->text.n, p);
	return &p->re;
}

static void
add_rules(struct worker *l, struct scope *s, enum pat_kind kind)
{
	const struct ga_wordlists *rows = pat_rows(&s->lists, kind);

	for (size_t i = 0; i < rows->n; i++) {
		struct rule *rule = &s->rules[s->n];
		size_t bad;

		if (pat_read(&rule->r, kind, &rows->v[i], &bad) != NULL)
			continue;
		rule->row = i;
		rule->compiled = compiled(l, rule->r.regex);
		s->n += rule->compiled != NULL;
	}
}

static size_t
count_rows(const struct smtp_patterns_conf *conf)
{
	size_t n = 0;

	for (enum pat_kind kind = PAT_ALL; kind < PAT_KINDS; kind++)
		n += pat_rows(conf, kind)->n;
	return n;
}

static struct scope *
scope_of(struct worker *l, const struct smtp_patterns_conf *conf)
{
	struct scope *s;

	HASH_FIND(hh, l->scopes, conf, sizeof *conf, s);
	if (s != NULL)
		return s;
	s = ga_xcalloc(1, sizeof *s);
	s->lists = *conf;
	s->rules = ga_xcalloc(count_rows(conf), sizeof *s->rules);
	for (enum pat_kind kind = PAT_ALL; kind < PAT_KINDS; kind++)
		add_rules(l, s, kind);
	HASH_ADD(hh, l->scopes, lists, sizeof s->lists, s);
	return s;
}

/* --- what a match does --- */

/* Of one attempt. */
struct match {
	struct ga_call *call;
	const struct ga_ev_attempt *ev;
	const struct worker *loop;
	const char *line, *raw;		/* what is matched */
	enum ga_verdict result;		/* PASS: none yet */
	bool backoff, pause;		/* a rule that does it has matched */
};

static void
begin_backoff(const struct match *m, const struct pat_rule *r)
{
	struct ga_pool *pool = ga_call_pool(m->call, GA_LIFE_CALL);
	struct ga_str why = ga_fmt(pool, "%.*s matched %.*s", S(r->regex), S(m->ev->text));

	m->loop->throttle->begin_backoff(ga_call_worker(m->call), m->ev->group_key, ga_cstr(pool, why), r->backoff_ms);
}

/* "ip2pd7" → "pd7"; a group of one domain or of a relay has no rule. */
static struct ga_str
rule_of(struct ga_str key)
{
	size_t i = 2;

	if (key.n < 3 || memcmp(key.p, "ip", 2) != 0)
		return (struct ga_str){ "", 0 };
	while (i < key.n && key.p[i] >= '0' && key.p[i] <= '9')
		i++;
	return (struct ga_str){ key.p + i, key.n - i };
}

/* The domain that is paused; empty when the message has none: the null sender, no From. */
static struct ga_str
paused_domain(const struct match *m, const struct pat_rule *r, char *buf, size_t room)
{
	struct ga_str sender = m->ev->sender, domain;
	const char *at;

	if (r->by_from)
		return m->ev->from_domain;
	at = sender.n > 0 ? memrchr(sender.p, '@', sender.n) : NULL;
	if (at == NULL || !ga_mail_domain((struct ga_str){ at + 1, (size_t)(sender.p + sender.n - at - 1) },
	    buf, room, &domain))
		return (struct ga_str){ "", 0 };
	return domain;
}

static struct ga_str
begin_pause(const struct match *m, const struct pat_rule *r, char *buf, size_t room)
{
	struct ga_pause p = { .kind = GA_PAUSE_SENDER, .name = paused_domain(m, r, buf, room),
		.from_header = r->by_from, .scope = rule_of(m->ev->group_key), .percent = r->percent,
		.until_ms = ga_wall_ms() + r->pause_ms, .reason = m->ev->text };

	if (p.scope.n == 0)
		p.domain = m->ev->domain;
	if (p.name.n > 0)
		m->loop->queue->pause(ga_call_worker(m->call), &p);
	return p.name;
}

static const char *
result_name(enum ga_verdict verdict)
{
	switch (verdict) {
	case GA_ACCEPT: return "success";
	case GA_TEMPFAIL: return "deferral";
	default: return "failure";
	}
}

/* What was done, in one line; one a second of each rule. */
static void
tell(const struct match *m, struct rule *rule, bool result, bool backoff, struct ga_str paused)
{
	uint64_t now = ga_now_ms(ga_call_worker(m->call));
	const struct pat_rule *r = &rule->r;
	struct ga_place at = { "", 0, 0 };
	const struct ga_ev_attempt *ev = m->ev;
	char more[60] = "";

	if (rule->logged_ms != 0 && now - rule->logged_ms < LOG_EVERY_MS) {
		rule->unlogged++;
		return;
	}
	if (rule->unlogged > 0)
		snprintf(more, sizeof more, " (and for %u more replies since the last line)", rule->unlogged);
	ga_settings_place(ga_call_settings(m->call), "smtp_patterns", pat_directive(r->kind), rule->row, 0, &at);
	ga_log(ga_call_inst(m->call), GA_INFO, "GA-PAT-0001", "%s:%u: %s `%.*s` matched:%s%s%s%s%.*s for %.*s (%.*s)%s: %.*s",
	    at.file, at.line, pat_directive(r->kind), S(r->regex), result ? " result " : "",
	    result ? result_name(r->result) : "", backoff ? " backoff" : "", paused.n > 0 ? " pause of " : "", S(paused),
	    S(ev->domain), S(ev->group_key), more, S(ev->text));
	rule->logged_ms = now;
	rule->unlogged = 0;
}

/* A rule has matched: what no rule before it has done is done. */
static void
act(struct match *m, struct rule *rule)
{
	const struct pat_rule *r = &rule->r;
	bool result = r->result != GA_PASS && m->result == GA_PASS, backoff = r->backoff && !m->backoff;
	struct ga_str paused = { "", 0 };
	char buf[256];

	if (backoff)
		begin_backoff(m, r);
	if (r->pause && !m->pause)
		paused = begin_pause(m, r, buf, sizeof buf);
	if (result && r->text.n > 0)
		ga_reply(m->call, m->ev->code, ga_cstr(ga_call_pool(m->call, GA_LIFE_CALL), m->ev->enhanced), "%.*s", S(r->text));
	if (result)
		m->result = r->result;
	m->backoff |= r->backoff;
	m->pause |= r->pause && paused.n > 0;
	if (result || backoff || paused.n > 0)
		tell(m, rule, result, backoff, paused);
}

/* Whether a match would do anything; what was delivered begins no backoff by the directive
 * that says nothing else. */
static bool
is_due(const struct match *m, const struct pat_rule *r)
{
	if (m->ev->outcome == GA_DELIVERED && r->kind != PAT_ALL && r->kind != PAT_OVERRIDE)
		return false;
	return (r->result != GA_PASS && m->result == GA_PASS) || (r->backoff && !m->backoff) ||
	    (r->pause && !m->pause);
}

static enum ga_verdict
on_result(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	struct worker *l = ga_worker_state(ga_call_inst(call), ga_call_worker(call));
	struct scope *s = scope_of(l, ga_call_conf(call));
	struct ga_pool *pool = ga_call_pool(call, GA_LIFE_CALL);
	struct match m = { call, ev, l, ga_cstr(pool, ev->text), ga_cstr(pool, ev->reply), GA_PASS, false, false };

	for (size_t i = 0; i < s->n; i++) {
		struct rule *rule = &s->rules[i];

		if (is_due(&m, &rule->r) && regexec(rule->compiled, rule->r.raw ? m.raw : m.line, 0, NULL, 0) == 0)
			act(&m, rule);
	}
	return m.result;
}

/* --- life --- */

static bool
patterns_wants(const void *conf)
{
	return count_rows(conf) > 0;
}

static bool
patterns_check(const void *conf, struct ga_diag *diag)
{
	struct ga_snapshot *s = ga_snapshot_current();
	bool fine = pat_check(s, diag);

	(void)conf;
	ga_snapshot_unref(s);
	return fine;
}

static bool
patterns_start(struct ga_inst *inst, struct ga_worker *w)
{
	struct worker *l = ga_worker_state(inst, w);

	l->throttle = ga_service_get(GA_THROTTLE_SERVICE, GA_THROTTLE_VERSION);
	l->queue = ga_service_get(GA_QUEUE_SERVICE, GA_QUEUE_VERSION);
	if (l->throttle == NULL || l->queue == NULL)
		ga_log(inst, GA_ERR, "GA-PAT-0002", "no module provides service \"%s\"",
		    l->throttle == NULL ? GA_THROTTLE_SERVICE : GA_QUEUE_SERVICE);
	return l->throttle != NULL && l->queue != NULL;
}

static void
patterns_stop(struct ga_inst *inst, struct ga_worker *w)
{
	struct worker *l = ga_worker_state(inst, w);
	struct scope *s, *next_scope;
	struct pattern *p, *next_pattern;

	HASH_ITER(hh, l->scopes, s, next_scope) {
		HASH_DEL(l->scopes, s);
		free(s->rules);
		free(s);
	}
	HASH_ITER(hh, l->patterns, p, next_pattern) {
		HASH_DEL(l->patterns, p);
		regfree(&p->re);
		free(p);
	}
}

#define SMTP_PATTERNS_HOOKS(X) X(result, on_result)

GA_MODULE(smtp_patterns, "1.0.0", "ip_address relay_server domain", SMTP_PATTERNS_HOOKS, SMTP_PATTERNS_DIRECTIVES,
    .summary = "reactions to what hosts say: results, backoff, pauses",
    .conf = &smtp_patterns_conf_schema,
    .worker_size = sizeof(struct worker),
    .on_failure = GA_TEMPFAIL,
    .wants = patterns_wants,
    .check = patterns_check,
    .start = patterns_start,
    .stop = patterns_stop);
