/*
 * value.c - values of greenarrow.conf: text to C
 *
 * Pure functions, used by the checker for what the operator wrote, for the
 * defaults and bounds of schemas, and by command lines that take durations.
 *
 * Numbers are decimal, always with a point; the locale has no say.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "conf/pattern.h"
#include <greenarrow/conf.h>

#include "conf/value.h"

/* Above this a double no longer counts milliseconds or bytes one by one. */
#define EXACT 9007199254740992.0

#define NOT_DURATION "is not a duration such as 500ms, 30s, 4h15m or 2d"
#define NOT_RATE "is not a rate such as 2/s, 120/min or 7200/hr"
#define NOT_SIZE "is not a size such as 100, 64KiB or 50MiB"

struct unit {
	const char *name;
	double factor;
};

static const struct {
	const char *name;
	size_t size;
} types[GAC_NTYPES] = {
	[GAC_T_FLAG] = { "flag", sizeof(ga_c_flag) },
	[GAC_T_INT] = { "int", sizeof(ga_c_int) },
	[GAC_T_REAL] = { "real", sizeof(ga_c_real) },
	[GAC_T_SIZE] = { "size", sizeof(ga_c_size) },
	[GAC_T_DURATION] = { "duration", sizeof(ga_c_duration) },
	[GAC_T_PERCENT] = { "percent", sizeof(ga_c_percent) },
	[GAC_T_RATE] = { "rate", sizeof(ga_c_rate) },
	[GAC_T_STRING] = { "string", sizeof(ga_c_string) },
	[GAC_T_SECRET] = { "secret", sizeof(ga_c_secret) },
	[GAC_T_PATH] = { "path", sizeof(ga_c_path) },
	[GAC_T_DOMAIN] = { "domain", sizeof(ga_c_domain) },
	[GAC_T_CHOICE] = { "choice", sizeof(ga_c_choice) },
	[GAC_T_LIST] = { "list", sizeof(ga_c_list) },
	[GAC_T_WORDS] = { "words", sizeof(ga_c_words) },
	[GAC_T_TABLE] = { "table", sizeof(ga_c_table) },
};

int gac_type_find(struct ga_str name)
{
	for (int i = 0; i < GAC_NTYPES; i++)
		if (ga_str_eq(name, ga_str_c(types[i].name)))
			return i;
	return -1;
}

const char *gac_type_name(enum gac_type t)
{
	return types[t].name;
}

size_t gac_type_size(enum gac_type t)
{
	return types[t].size;
}

/* "12" or "1.5" at the start of s: its value, and s moved behind it. */
static bool eat_number(struct ga_str *s, double *out)
{
	double v = 0, place = 1;
	size_t i = 0, digits = 0;

	for (; i < s->n && isdigit((unsigned char)s->p[i]); i++, digits++)
		v = v * 10 + (s->p[i] - '0');
	if (i < s->n && s->p[i] == '.')
		for (i++; i < s->n && isdigit((unsigned char)s->p[i]); i++, digits++)
			v += (s->p[i] - '0') * (place /= 10);
	if (digits == 0)
		return false;
	s->p += i;
	s->n -= i;
	*out = v;
	return true;
}

/* The letters at the start of s as a unit; longest run, so that "m" is not "ms". */
static bool eat_unit(struct ga_str *s, const struct unit *units, double *factor)
{
	struct ga_str name = { s->p, 0 };

	while (name.n < s->n && isalpha((unsigned char)s->p[name.n]))
		name.n++;
	for (; units->name != NULL; units++) {
		if (!ga_str_eq(name, ga_str_c(units->name)))
			continue;
		*factor = units->factor;
		s->p += name.n;
		s->n -= name.n;
		return true;
	}
	return false;
}

static bool is_zero(struct ga_str s)
{
	return ga_str_eq(s, GA_STR("0"));
}

const char *gac_value_flag(struct ga_str s, bool *out)
{
	*out = ga_str_eq(s, GA_STR("yes"));
	return *out || ga_str_eq(s, GA_STR("no")) ? NULL : "is neither `yes` nor `no`";
}

const char *gac_value_int(struct ga_str s, int64_t *out)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	size_t i = negative ? 1 : 0;
	int64_t v = 0;

	if (i == s.n)
		return "is not a whole number";
	for (; i < s.n; i++) {
		if (!isdigit((unsigned char)s.p[i]))
			return "is not a whole number";
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s.p[i] - '0', &v))
			return "is too large";
	}
	*out = negative ? -v : v;
	return NULL;
}

const char *gac_value_real(struct ga_str s, double *out)
{
	bool negative = s.n > 0 && s.p[0] == '-';

	if (negative) {
		s.p++;
		s.n--;
	}
	if (!eat_number(&s, out) || s.n > 0)
		return "is not a number";
	if (negative)
		*out = -*out;
	return *out > EXACT || *out < -EXACT ? "is too large" : NULL;
}

const char *gac_value_size(struct ga_str s, uint64_t *out)
{
	static const struct unit units[] = {
		{ "", 1 }, { "B", 1 },
		{ "K", 1024.0 }, { "KiB", 1024.0 }, { "KB", 1e3 },
		{ "M", 1048576.0 }, { "MiB", 1048576.0 }, { "MB", 1e6 },
		{ "G", 1073741824.0 }, { "GiB", 1073741824.0 }, { "GB", 1e9 },
		{ "T", 1099511627776.0 }, { "TiB", 1099511627776.0 }, { "TB", 1e12 },
		{ NULL, 0 }
	};
	double v, factor;

	if (!eat_number(&s, &v) || !eat_unit(&s, units, &factor) || s.n > 0)
		return NOT_SIZE;
	if (v * factor > EXACT)
		return "is too large";
	*out = (uint64_t)llround(v * factor);
	return NULL;
}

const char *gac_value_duration(struct ga_str s, uint64_t *out)
{
	static const struct unit units[] = {
		{ "ns", 1e-6 }, { "us", 1e-3 }, { "ms", 1 }, { "s", 1e3 }, { "m", 6e4 },
		{ "h", 3.6e6 }, { "d", 8.64e7 }, { "w", 6.048e8 }, { NULL, 0 }
	};
	double sum = 0, v, factor;

	*out = 0;
	if (is_zero(s))
		return NULL;
	if (s.n == 0)
		return NOT_DURATION;
	while (s.n > 0) {
		if (!eat_number(&s, &v))
			return NOT_DURATION;
		if (s.n == 0)
			return "lacks a unit: write it as a duration such as 500ms, 30s, 4h15m or 2d";
		if (!eat_unit(&s, units, &factor))
			return NOT_DURATION;
		sum += v * factor;
		if (sum > EXACT)
			return "is too large";
	}
	/* What is shorter than we can count is still not nothing. */
	*out = sum > 0 && sum < 1 ? 1 : (uint64_t)llround(sum);
	return NULL;
}

const char *gac_value_percent(struct ga_str s, double *out)
{
	if (!eat_number(&s, out) || !ga_str_eq(s, GA_STR("%")))
		return "is not a percentage such as 25%";
	return *out > EXACT ? "is too large" : NULL;
}

const char *gac_value_rate(struct ga_str s, double *out)
{
	static const struct unit units[] = {
		{ "s", 1 }, { "sec", 1 }, { "second", 1 }, { "m", 60 }, { "min", 60 }, { "minute", 60 },
		{ "h", 3600 }, { "hr", 3600 }, { "hour", 3600 }, { "d", 86400 }, { "day", 86400 }, { NULL, 0 }
	};
	double v, factor;

	*out = 0;
	if (is_zero(s))
		return NULL;
	if (!eat_number(&s, &v))
		return NOT_RATE;
	if (s.n == 0)
		return "lacks a unit: write it as a rate such as 2/s, 120/min or 7200/hr";
	if (s.p[0] != '/')
		return NOT_RATE;
	s.p++;
	s.n--;
	if (!eat_unit(&s, units, &factor) || s.n > 0)
		return NOT_RATE;
	if (v > EXACT)
		return "is too large";
	*out = v / factor;
	return NULL;
}

const char *gac_value_parse(struct ga_pool *pool, enum gac_type t, struct ga_str s,
    union gac_typed *v)
{
	memset(v, 0, sizeof *v);
	switch (t) {
	case GAC_T_FLAG:
		return gac_value_flag(s, &v->flag);
	case GAC_T_INT:
		return gac_value_int(s, &v->integer);
	case GAC_T_REAL:
		return gac_value_real(s, &v->real);
	case GAC_T_SIZE:
		return gac_value_size(s, &v->size);
	case GAC_T_DURATION:
		return gac_value_duration(s, &v->size);
	case GAC_T_PERCENT:
		return gac_value_percent(s, &v->real);
	case GAC_T_RATE:
		v->rate.text = ga_dup(pool, s);
		return gac_value_rate(s, &v->rate.per_second);
	case GAC_T_DOMAIN:
		return gac_domain_normalize(pool, s, &v->str);
	default:
		v->str = ga_dup(pool, s);
		return NULL;
	}
}

int gac_value_compare(enum gac_type t, const union gac_typed *a, const union gac_typed *b)
{
	switch (t) {
	case GAC_T_INT:
		return (a->integer > b->integer) - (a->integer < b->integer);
	case GAC_T_SIZE:
	case GAC_T_DURATION:
		return (a->size > b->size) - (a->size < b->size);
	case GAC_T_RATE:
		return (a->rate.per_second > b->rate.per_second) - (a->rate.per_second < b->rate.per_second);
	case GAC_T_REAL:
	case GAC_T_PERCENT:
		return (a->real > b->real) - (a->real < b->real);
	default:
		return 0;
	}
}

bool ga_conf_duration(struct ga_str s, uint64_t *ms)
{
	return gac_value_duration(s, ms) == NULL;
}

bool ga_conf_percent(struct ga_str s, double *percent)
{
	return gac_value_percent(s, percent) == NULL;
}

bool ga_conf_amount(struct ga_str s, struct ga_amount *to)
{
	int64_t whole = 0;

	to->percent = gac_value_percent(s, &to->n) == NULL;
	if (to->percent || gac_value_rate(s, &to->n) == NULL)
		return true;
	if (gac_value_int(s, &whole) != NULL)
		return false;
	to->n = (double)whole;
	return true;
}
