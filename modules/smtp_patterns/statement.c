/*
 * statement.c - the words of a pattern's statement, read and checked.
 *
 * Pure: check() reads all statements of a file to say what is wrong with them, on the
 * main thread; the hook reads those of a scope when it meets the scope, on its loop.
 */
#include "smtp_patterns.h"

#include <string.h>

#define PAUSE_DEFAULT_MS 600000

const char *
pat_directive(enum pat_kind kind)
{
#define NAME(type, field, dflt, cons, ctx, help) #field,
	static const char *const names[] = { SMTP_PATTERNS_DIRECTIVES(NAME) };
#undef NAME

	return names[kind];
}

const struct ga_wordlists *
pat_rows(const struct smtp_patterns_conf *conf, enum pat_kind kind)
{
	switch (kind) {
	case PAT_ALL: return &conf->smtp_pattern;
	case PAT_OVERRIDE: return &conf->override_smtp_result;
	case PAT_BACKOFF: return &conf->smtp_match_begin_backoff_mode;
	default: return &conf->smtp_match_pause_domain;
	}
}

/* --- values of options: NULL is fine --- */

static const char *
read_result(struct pat_rule *r, struct ga_str value)
{
	static const struct { const char *name; enum ga_verdict verdict; } results[] = {
		{ "success", GA_ACCEPT }, { "deferral", GA_TEMPFAIL }, { "failure", GA_REJECT } };

	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
		if (ga_str_eq(value, ga_str_c(results[i].name))) {
			r->result = results[i].verdict;
			return NULL;
		}
	return "is none of the results success, deferral and failure";
}

static const char *
read_duration(struct ga_str value, uint64_t *ms)
{
	return ga_conf_duration(value, ms) && *ms > 0 ? NULL : "is no duration";
}

/* Alone: with the default. */
static const char *
read_backoff(struct pat_rule *r, struct ga_str value)
{
	r->backoff = true;
	return value.p == NULL ? NULL : read_duration(value, &r->backoff_ms);
}

static const char *
read_pause(struct pat_rule *r, struct ga_str value)
{
	r->pause = true;
	return value.p == NULL ? NULL : read_duration(value, &r->pause_ms);
}

static const char *
read_for(struct pat_rule *r, struct ga_str value)
{
	return read_duration(value, r->kind == PAT_PAUSE ? &r->pause_ms : &r->backoff_ms);
}

static const char *
read_percent(struct pat_rule *r, struct ga_str value)
{
	return ga_conf_percent(value, &r->percent) && r->percent > 0 && r->percent <= 100 ? NULL :
	    "is no share above 0% and up to 100%";
}

static const char *
read_key(struct pat_rule *r, struct ga_str value)
{
	r->by_from = ga_str_eq(value, GA_STR("from"));
	return r->by_from || ga_str_eq(value, GA_STR("mailfrom")) ? NULL : "is neither key=mailfrom nor key=from";
}

static const char *
read_format(struct pat_rule *r, struct ga_str value)
{
	r->raw = ga_str_eq(value, GA_STR("raw"));
	return r->raw ? NULL : "is not match_format=raw";
}

static const char *
read_text(struct pat_rule *r, struct ga_str value)
{
	r->text = value;
	return value.n > 0 && value.n < 500 ? NULL : "is not a text of 1 to 499 octets";
}

enum option_id { RESULT, BACKOFF, PAUSE, FOR, PERCENT, KEY, MATCH_FORMAT, TEXT, OPTIONS };
#define BIT(n) (1u << (n))
#define IN(kind) BIT(PAT_##kind)
static const struct option {
	const char *name;
	unsigned kinds;
	bool bare;			/* may stand without a value */
	const char *(*read)(struct pat_rule *, struct ga_str value);
} options[OPTIONS] = {
	[RESULT] = { "result", IN(ALL), false, read_result },
	[BACKOFF] = { "backoff", IN(ALL), true, read_backoff },
	[PAUSE] = { "pause", IN(ALL), true, read_pause },
	[FOR] = { "for", IN(BACKOFF) | IN(PAUSE), false, read_for },
	[PERCENT] = { "percent", IN(ALL) | IN(PAUSE), false, read_percent },
	[KEY] = { "key", IN(ALL) | IN(PAUSE), false, read_key },
	[MATCH_FORMAT] = { "match_format", IN(ALL) | IN(OVERRIDE) | IN(BACKOFF) | IN(PAUSE), false, read_format },
	[TEXT] = { "text", IN(ALL) | IN(OVERRIDE), false, read_text },
};

/* --- statements --- */

/* value.p NULL: the name stands alone. */
static const struct option *
option_of(enum pat_kind kind, struct ga_str word, struct ga_str *value)
{
	const char *is = memchr(word.p, '=', word.n);
	struct ga_str name = { word.p, is != NULL ? (size_t)(is - word.p) : word.n };

	*value = (struct ga_str){ NULL, 0 };
	if (is != NULL)
		*value = (struct ga_str){ is + 1, word.n - name.n - 1 };
	for (size_t i = 0; i < OPTIONS; i++)
		if ((options[i].kinds & BIT(kind)) != 0 && ga_str_eq(name, ga_str_c(options[i].name)) &&
		    (is != NULL || options[i].bare))
			return &options[i];
	return NULL;
}

/* What belongs to a pause or a result says nothing without one.  given: bits of options. */
static const char *
incomplete(const struct pat_rule *r, unsigned given)
{
	if (r->kind != PAT_ALL)
		return NULL;
	if (r->result == GA_PASS && !r->backoff && !r->pause)
		return "does nothing: result=, backoff or pause is missing";
	if ((given & (BIT(PERCENT) | BIT(KEY))) != 0 && !r->pause)
		return "has percent= or key=, but no pause";
	if ((given & BIT(TEXT)) != 0 && r->result == GA_PASS)
		return "has text=, but no result=";
	return NULL;
}

const char *
pat_read(struct pat_rule *r, enum pat_kind kind, const struct ga_strlist *words, size_t *bad)
{
	unsigned given = 0;
	size_t i = 1;

	*r = (struct pat_rule){ .regex = words->v[0], .kind = kind, .backoff = kind == PAT_BACKOFF,
		.pause = kind == PAT_PAUSE, .pause_ms = PAUSE_DEFAULT_MS, .percent = 100, .text = { "", 0 } };
	if (kind == PAT_OVERRIDE) {
		const char *wrong = words->n > 1 ? read_result(r, words->v[1]) : "lacks a result";

		*bad = words->n > 1;
		if (wrong != NULL)
			return wrong;
		i = 2;
	}
	for (; i < words->n; i++) {
		struct ga_str value;
		const struct option *o = option_of(kind, words->v[i], &value);
		const char *wrong;

		*bad = i;
		if (o == NULL)
			return "is no option of this directive";
		if ((given & BIT(o - options)) != 0)
			return "is there twice";
		given |= BIT(o - options);
		wrong = o->read(r, value);
		if (wrong != NULL)
			return wrong;
	}
	*bad = 0;
	return incomplete(r, given);
}

/* --- check --- */

static bool
check_rows(const struct ga_settings *settings, enum pat_kind kind, struct ga_diag *diag)
{
	const struct ga_wordlists *rows = pat_rows(ga_settings_conf(settings, "smtp_patterns"), kind);
	const char *name = pat_directive(kind);
	bool fine = true;

	for (size_t i = 0; i < rows->n; i++) {
		struct ga_place at = { "", 0, 0 };
		struct pat_rule r;
		size_t bad;
		const char *wrong = pat_read(&r, kind, &rows->v[i], &bad);

		if (wrong == NULL)
			continue;
		fine = false;
		ga_settings_place(settings, "smtp_patterns", name, i, bad, &at);
		ga_diag_error_at(diag, at.file, at.line, at.column, "%s: `%.*s` %s", name,
		    (int)rows->v[i].v[bad].n, rows->v[i].v[bad].p, wrong);
	}
	return fine;
}

/* A block is looked at for what it says itself. */
static bool
check_blocks(struct ga_snapshot *s, const struct ga_object *parent, struct ga_diag *diag)
{
	static const char *const contexts[] = { "ip_address", "relay_server", "domain" };
	bool fine = true;

	for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++)
		for (const struct ga_object *o = ga_object_first(s, parent, contexts[i]); o != NULL;
		    o = ga_object_next(o)) {
			for (enum pat_kind kind = PAT_ALL; kind < PAT_KINDS; kind++)
				if (ga_object_has(o, "smtp_patterns", pat_directive(kind)))
					fine &= check_rows(ga_snapshot_object(s, o), kind, diag);
			fine &= check_blocks(s, o, diag);
		}
	return fine;
}

bool
pat_check(struct ga_snapshot *s, struct ga_diag *diag)
{
	bool fine = check_blocks(s, NULL, diag);

	for (enum pat_kind kind = PAT_ALL; kind < PAT_KINDS; kind++)
		fine &= check_rows(ga_snapshot_general(s), kind, diag);
	return fine;
}
