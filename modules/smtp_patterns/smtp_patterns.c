/*
 * smtp_patterns.c - the module: what is done when a host says something in particular.
 *
 * Patterns (POSIX extended, without case) are tried against the reply of each attempt that
 * ends, in the hook `result`, on the loop of its throttle group.  A match rewrites the result,
 * begins the group's backoff or pauses a sender's domain for the recipient's.  Of each of these
 * three the first match wins; smtp_pattern comes before the directives that do one thing.
 *
 * Owns, on each loop of an instance: the rules of each scope that has any, made when the
 * scope is first met, and the compiled patterns, one for each distinct text.  Both point into
 * the snapshot that the instance is of, and are freed with the instance.
 */
#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/greenarrow.h>

#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include <greenarrow/conf.h>
#include <greenarrow/run.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/queue.h>

#define WHERE "general,ip_address,relay_server,domain"
#define SMTP_PATTERNS_DIRECTIVES(X)							\
X(table, smtp_pattern, "", "is=regex,any words=2- repeat", WHERE,			\
    "REGEX [result=success|deferral|failure] [backoff[=DURATION]] [pause[=DURATION]] [percent=N%] [match_format=raw] [text=\"TEXT\"]: done when a reply matches") \
X(table, override_smtp_result, "", "is=regex,any words=2-4 repeat", WHERE,		\
    "REGEX success|deferral|failure [match_format=raw] [\"TEXT\"]: the result of an attempt whose reply matches") \
X(table, smtp_match_begin_backoff_mode, "", "is=regex,any words=1-3 repeat", WHERE,	\
    "REGEX [for=DURATION] [match_format=raw]: the throttle group goes into backoff when a reply matches") \
X(table, smtp_match_pause_domain, "", "is=regex,any words=1-4 repeat", WHERE,		\
    "REGEX [for=10m] [percent=100%] [match_format=raw]: the sender's domain is paused for the recipient's when a reply matches")

GA_CONF_STRUCT(smtp_patterns_conf, SMTP_PATTERNS_DIRECTIVES);
#define GA_CF_SELF_ struct smtp_patterns_conf
GA_CONF_SCHEMA(smtp_patterns_conf, SMTP_PATTERNS_DIRECTIVES);

#define PAUSE_DEFAULT_MS 600000
#define LOG_EVERY_MS 1000
#define S(str) (int)(str).n, (str).p

enum kind { PATTERN, OVERRIDE, BACKOFF, PAUSE, KINDS };

/* One statement. */
struct rule {
	struct ga_str regex, text;
	enum kind kind;
	bool raw, backoff, pause;
	enum ga_verdict result;		/* PASS: none */
	uint64_t backoff_ms, pause_ms;
	double percent;
	/* where it is in use */
	const regex_t *compiled;
	uint64_t logged_ms;
	unsigned unlogged;
};

struct pattern { struct ga_str text; regex_t re; UT_hash_handle hh; };
struct scope {
	const struct smtp_patterns_conf *conf;
	struct rule *rules;
	size_t n;
	UT_hash_handle hh;
};
struct worker {
	struct scope *scopes;		/* by conf */
	struct pattern *patterns;	/* by text */
	const struct ga_throttle *throttle;
	const struct ga_queue *queue;
};

/* --- statements --- */

static const struct ga_wordlists *
statements(const struct smtp_patterns_conf *conf, enum kind kind)
{
	switch (kind) {
	case PATTERN: return &conf->smtp_pattern;
	case OVERRIDE: return &conf->override_smtp_result;
	case BACKOFF: return &conf->smtp_match_begin_backoff_mode;
	default: return &conf->smtp_match_pause_domain;
	}
}

static const char *
directive(enum kind kind)
{
	return smtp_patterns_conf_slots[kind].field;
}

/* "NAME=VALUE" → the value; NAME alone is an empty one where that may be. */
static bool
option(struct ga_str word, const char *name, bool bare, struct ga_str *value)
{
	size_t n = strlen(name);

	if (word.n < n || memcmp(word.p, name, n) != 0 || (word.n > n ? word.p[n] != '=' : !bare))
		return false;
	*value = word.n > n ? (struct ga_str){ word.p + n + 1, word.n - n - 1 } : (struct ga_str){ "", 0 };
	return true;
}

static bool
result_of(struct ga_str word, enum ga_verdict *result)
{
	if (ga_str_caseeq(word, GA_STR("success")))
		*result = GA_ACCEPT;
	else if (ga_str_caseeq(word, GA_STR("deferral")))
		*result = GA_TEMPFAIL;
	else if (ga_str_caseeq(word, GA_STR("failure")))
		*result = GA_REJECT;
	else
		return false;
	return true;
}

static bool
percent_of(struct ga_str s, double *percent)
{
	char buf[32], *end;

	if (s.n == 0 || s.n >= sizeof buf || s.p[s.n - 1] != '%')
		return false;
	memcpy(buf, s.p, s.n - 1);
	buf[s.n - 1] = '\0';
	*percent = strtod(buf, &end);
	return s.n > 1 && *end == '\0' && isfinite(*percent) && *percent > 0 && *percent <= 100;
}

/* An empty duration is the default. */
static const char *
lasts(struct ga_str value, uint64_t *ms)
{
	if (value.n > 0 && (!ga_conf_duration(value, ms) || *ms == 0))
		return "is no duration";
	return NULL;
}

/* A word behind the pattern; NULL: fine, else what is wrong with it. */
static const char *
read_word(struct rule *r, struct ga_str word)
{
	struct ga_str v;

	if (option(word, "match_format", false, &v)) {
		r->raw = ga_str_eq(v, GA_STR("raw"));
		return r->raw ? NULL : "is not match_format=raw";
	}
	if (r->kind == PATTERN && option(word, "result", false, &v))
		return result_of(v, &r->result) ? NULL : "is not result=success, result=deferral or result=failure";
	if (r->kind == PATTERN && option(word, "backoff", true, &v)) {
		r->backoff = true;
		return lasts(v, &r->backoff_ms);
	}
	if (r->kind == PATTERN && option(word, "pause", true, &v)) {
		r->pause = true;
		return lasts(v, &r->pause_ms);
	}
	if (r->kind == PATTERN && option(word, "text", false, &r->text))
		return NULL;
	if ((r->kind == BACKOFF || r->kind == PAUSE) && option(word, "for", false, &v))
		return v.n == 0 ? "is no duration" : lasts(v, r->kind == PAUSE ? &r->pause_ms : &r->backoff_ms);
	if ((r->kind == PATTERN || r->kind == PAUSE) && option(word, "percent", false, &v))
		return percent_of(v, &r->percent) ? NULL : "is no share from 0% to 100%";
	if (r->kind == OVERRIDE && r->result == GA_PASS)
		return result_of(word, &r->result) ? NULL : "is not success, deferral or failure";
	if (r->kind == OVERRIDE && r->text.n == 0) {
		r->text = word;
		return NULL;
	}
	return "is no option of this directive";
}

/* NULL: fine; else what is wrong, and *bad the word that is. */
static const char *
read_statement(struct rule *r, enum kind kind, const struct ga_strlist *words, struct ga_str *bad)
{
	*r = (struct rule){ .regex = words->v[0], .kind = kind, .backoff = kind == BACKOFF,
		.pause = kind == PAUSE, .pause_ms = PAUSE_DEFAULT_MS, .percent = 100, .text = { "", 0 } };
	for (size_t i = 1; i < words->n; i++) {
		const char *wrong = read_word(r, words->v[i]);

		*bad = words->v[i];
		if (wrong != NULL)
			return wrong;
	}
	*bad = r->regex;
	if (kind == OVERRIDE && r->result == GA_PASS)
		return "needs a result: success, deferral or failure";
	if (kind == PATTERN && r->result == GA_PASS && !r->backoff && !r->pause)
		return "does nothing: result=, backoff or pause is missing";
	return NULL;
}

/* --- check: all scopes of the file --- */

static bool
check_settings(const struct ga_settings *settings, struct ga_diag *diag)
{
	const struct smtp_patterns_conf *conf = ga_settings_conf(settings, "smtp_patterns");
	bool fine = true;

	for (enum kind kind = PATTERN; kind < KINDS; kind++) {
		const struct ga_wordlists *rows = statements(conf, kind);
		const char *where = ga_settings_where(settings, "smtp_patterns", directive(kind));
		const char *colon = strrchr(where, ':');

		for (size_t i = 0; i < rows->n; i++) {
			struct rule r;
			struct ga_str bad;
			const char *wrong = read_statement(&r, kind, &rows->v[i], &bad);
			char file[1024];

			if (wrong == NULL)
				continue;
			fine = false;
			snprintf(file, sizeof file, "%.*s", colon != NULL ? (int)(colon - where) : 0, where);
			ga_diag_error_at(diag, file, colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0, 1,
			    "%s: %.*s %s", directive(kind), S(bad), wrong);
		}
	}
	return fine;
}

static bool
check_blocks(struct ga_snapshot *s, const struct ga_object *parent, struct ga_diag *diag)
{
	static const char *const contexts[] = { "ip_address", "relay_server", "domain" };
	bool fine = true;

	for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
		for (const struct ga_object *o = ga_object_first(s, parent, contexts[i]); o != NULL;
		    o = ga_object_next(o)) {
			bool own = false;

			for (enum kind kind = PATTERN; kind < KINDS; kind++)
				own |= ga_object_has(o, "smtp_patterns", directive(kind));
			if (own)
				fine &= check_settings(ga_snapshot_object(s, o), diag);
			if (strcmp(contexts[i], "domain") != 0)
				fine &= check_blocks(s, o, diag);
		}
	return fine;
}

static bool
patterns_check(const void *conf, struct ga_diag *diag)
{
	struct ga_snapshot *s = ga_snapshot_current();
	bool fine = check_settings(ga_snapshot_general(s), diag);

	fine &= check_blocks(s, NULL, diag);
	ga_snapshot_unref(s);
	return fine;
}

/* --- what a scope's rules are --- */

static const regex_t *
compiled(struct worker *l, struct ga_str text)
{
	struct pattern *p;
	char *copy;

	HASH_FIND(hh, l->patterns, text.p, text.n, p);
	if (p != NULL)
		return &p->re;
	p = ga_xcalloc(1, sizeof *p);
	p->text = text;
	copy = ga_xcalloc(1, text.n + 1);
	memcpy(copy, text.p, text.n);
	if (regcomp(&p->re, copy, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0) {
		free(copy);		/* is=regex has seen it: there is no memory */
		free(p);
		return NULL;
	}
	free(copy);
	HASH_ADD_KEYPTR(hh, l->patterns, p->text.p, p->text.n, p);
	return &p->re;
}

static struct scope *
scope_of(struct worker *l, const struct smtp_patterns_conf *conf)
{
	struct scope *s;
	size_t n = 0;

	HASH_FIND_PTR(l->scopes, &conf, s);
	if (s != NULL)
		return s;
	for (enum kind kind = PATTERN; kind < KINDS; kind++)
		n += statements(conf, kind)->n;
	s = ga_xcalloc(1, sizeof *s);
	s->conf = conf;
	s->rules = ga_xcalloc(n, sizeof *s->rules);
	for (enum kind kind = PATTERN; kind < KINDS; kind++)
		for (size_t i = 0; i < statements(conf, kind)->n; i++) {
			struct rule *r = &s->rules[s->n];
			struct ga_str bad;

			if (read_statement(r, kind, &statements(conf, kind)->v[i], &bad) != NULL)
				continue;
			r->compiled = compiled(l, r->regex);
			s->n += r->compiled != NULL;
		}
	HASH_ADD_PTR(l->scopes, conf, s);
	return s;
}

/* --- matches --- */

static void
begin_backoff(struct ga_call *call, const struct worker *l, const struct rule *r, const struct ga_ev_attempt *ev)
{
	struct ga_str why = ga_fmt(ga_call_pool(call, GA_LIFE_CALL), "%.*s matched %.*s", S(r->regex), S(ev->text));

	if (l->throttle->begin_backoff != NULL)
		l->throttle->begin_backoff(ga_call_worker(call), ev->group_key,
		    ga_cstr(ga_call_pool(call, GA_LIFE_CALL), why), r->backoff_ms);
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

static void
begin_pause(struct ga_call *call, const struct worker *l, const struct rule *r, const struct ga_ev_attempt *ev)
{
	const char *at = memrchr(ev->sender.p, '@', ev->sender.n);
	struct ga_pause p = { .kind = GA_PAUSE_SENDER, .scope = rule_of(ev->group_key),
		.percent = r->percent, .until_ms = ga_wall_ms() + r->pause_ms, .reason = ev->text };
	char name[256];

	if (at == NULL || !ga_mail_domain((struct ga_str){ at + 1, (size_t)(ev->sender.p + ev->sender.n - at - 1) },
	    name, sizeof name, &p.name))
		return;			/* the null sender has no domain */
	if (p.scope.n == 0)
		p.domain = ev->domain;
	if (l->queue->pause != NULL)
		l->queue->pause(ga_call_worker(call), &p);
}

static void
tell(struct ga_call *call, const struct worker *l, struct rule *r, const struct ga_ev_attempt *ev)
{
	uint64_t now = ga_now_ms(ga_call_worker(call));

	if (r->logged_ms != 0 && now - r->logged_ms < LOG_EVERY_MS) {
		r->unlogged++;
		return;
	}
	ga_log(ga_call_inst(call), GA_INFO, "GA-PAT-0001", "%s %.*s matched a reply for %.*s (%.*s)%s%s%s; %u more since the last line: %.*s",
	    directive(r->kind), S(r->regex), S(ev->domain), S(ev->group_key),
	    r->result == GA_ACCEPT ? ", result success" : r->result == GA_TEMPFAIL ? ", result deferral" :
	    r->result == GA_REJECT ? ", result failure" : "",
	    r->backoff && l->throttle->begin_backoff != NULL ? ", backoff" : "", r->pause && l->queue->pause != NULL && ev->sender.n > 0 ? ", pause" : "", r->unlogged, S(ev->text));
	r->logged_ms = now;
	r->unlogged = 0;
}

static bool
applies(const struct rule *r, const struct ga_ev_attempt *ev)
{
	return ev->outcome != GA_DELIVERED || r->kind == PATTERN || r->kind == OVERRIDE;
}

static enum ga_verdict
on_result(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	const struct smtp_patterns_conf *conf = ga_call_conf(call);
	struct worker *l = ga_worker_state(ga_call_inst(call), ga_call_worker(call));
	struct ga_pool *pool;
	struct scope *s;
	const char *line, *raw;
	enum ga_verdict verdict = GA_PASS;
	bool backoff = false, pause = false;

	if (conf->smtp_pattern.n + conf->override_smtp_result.n + conf->smtp_match_begin_backoff_mode.n +
	    conf->smtp_match_pause_domain.n == 0)
		return GA_PASS;
	s = scope_of(l, conf);
	pool = ga_call_pool(call, GA_LIFE_CALL);
	line = ga_cstr(pool, ev->text);
	raw = ga_cstr(pool, ev->reply);
	for (size_t i = 0; i < s->n; i++) {
		struct rule *r = &s->rules[i];
		bool does = (r->result != GA_PASS && verdict == GA_PASS) || (r->backoff && !backoff) ||
		    (r->pause && !pause);

		if (!does || !applies(r, ev) || regexec(r->compiled, r->raw ? raw : line, 0, NULL, 0) != 0)
			continue;
		tell(call, l, r, ev);
		if (r->backoff && !backoff)
			begin_backoff(call, l, r, ev);
		if (r->pause && !pause)
			begin_pause(call, l, r, ev);
		if (verdict == GA_PASS && r->result != GA_PASS && r->text.n > 0)
			ga_reply(call, ev->code, ga_cstr(pool, ev->enhanced), "%.*s", S(r->text));
		backoff |= r->backoff;
		pause |= r->pause;
		if (verdict == GA_PASS)
			verdict = r->result;
	}
	return verdict;
}

/* --- life --- */

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
    .check = patterns_check,
    .start = patterns_start,
    .stop = patterns_stop);
