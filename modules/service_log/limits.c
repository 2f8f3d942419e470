/*
 * limits.c - how much a log directory may hold: multilog's words, and the file that has them
 * for single directories.
 *
 * control/logconfig.multilog, a line a directory, NAME in capitals with _ for what is neither a
 * letter nor a digit:
 *
 *	# comment
 *	QMAIL_SMTPD2 n10 s1048576
 *	RSPAWN_LIMITER="n50 s10485760"
 *
 * so that files of either shape are read as they are.  Names of directories that are not ours
 * are fine: such a file knows more services than we have.
 */
#include "service_log.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- words --- */

static const struct word {
	char letter;
	uint64_t min, max;
	const char *bounds;
} known[] = {
	{ 's', SLOG_SIZE_MIN, SLOG_SIZE_MAX, "is not s and a number from 4096 to 2147483647" },
	{ 'n', SLOG_FILES_MIN, SLOG_FILES_MAX, "is not n and a number from 2 to 1000000" },
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct ga_str
next_word(struct ga_str *s)
{
	struct ga_str word;
	size_t n = 0;

	*s = ga_str_trim(*s);
	while (n < s->n && !is_blank(s->p[n]))
		n++;
	word = (struct ga_str){ s->p, n };
	s->p += n;
	s->n -= n;
	return word;
}

/* Digits alone, without a sign; UINT64_MAX: something else, or far too much. */
static uint64_t
number(struct ga_str s)
{
	uint64_t v = 0;

	if (s.n == 0 || s.n > 12)
		return UINT64_MAX;
	for (size_t i = 0; i < s.n; i++) {
		if (!isdigit((unsigned char)s.p[i]))
			return UINT64_MAX;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	return v;
}

static const char *
take_word(struct ga_str word, struct slog_limits *l)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		uint64_t v;

		if (word.p[0] != known[i].letter)
			continue;
		v = number((struct ga_str){ word.p + 1, word.n - 1 });
		if (v < known[i].min || v > known[i].max)
			return known[i].bounds;
		if (known[i].letter == 's')
			l->size = (uint32_t)v;
		else
			l->files = (uint32_t)v;
		return NULL;
	}
	return "is neither sSIZE nor nNUMBER";
}

const char *
slog_limits_words(struct ga_str words, struct slog_limits *l, struct ga_str *bad)
{
	*l = (struct slog_limits){ 0, 0 };
	for (*bad = next_word(&words); bad->n > 0; *bad = next_word(&words)) {
		const char *why = take_word(*bad, l);

		if (why != NULL)
			return why;
	}
	return NULL;
}

/* --- the file --- */

static bool
is_name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* "NAME words", "NAME=words", "NAME=\"words\"".  False: *why and the column of *at. */
static bool
split(struct ga_str line, struct ga_str *name, struct ga_str *words, const char **why, struct ga_str *at)
{
	size_t n = 0;
	struct ga_str rest;

	while (n < line.n && is_name_char(line.p[n]))
		n++;
	*name = (struct ga_str){ line.p, n };
	rest = (struct ga_str){ line.p + n, line.n - n };
	*at = rest;
	*why = "a line is NAME and its limits: QMAIL_SMTPD2 n10 s1048576";
	if (n == 0 || rest.n == 0 || !(rest.p[0] == '=' || is_blank(rest.p[0])))
		return false;
	*words = ga_str_trim((struct ga_str){ rest.p + 1, rest.n - 1 });
	if (words->n > 0 && (words->p[0] == '"' || words->p[0] == '\'')) {
		*at = *words;
		*why = "the quotes are not closed, or something follows them";
		if (words->n < 2 || memchr(words->p + 1, words->p[0], words->n - 1) != words->p + words->n - 1)
			return false;
		*words = (struct ga_str){ words->p + 1, words->n - 2 };
	}
	return true;
}

static void
add_row(struct slog_limits_table *t, struct ga_str name, struct slog_limits limits)
{
	if ((t->n & (t->n - 1)) == 0)
		t->row = ga_xrealloc(t->row, (t->n == 0 ? 1 : 2 * t->n) * sizeof *t->row);
	t->row[t->n].name = ga_xcalloc(1, name.n + 1);
	memcpy(t->row[t->n].name, name.p, name.n);
	t->row[t->n++].limits = limits;
}

static bool
read_line(struct slog_limits_table *t, struct ga_str line, const char **why, struct ga_str *at)
{
	struct ga_str name, words;
	struct slog_limits limits;

	if (line.n == 0 || line.p[0] == '#')
		return true;
	if (!split(line, &name, &words, why, at))
		return false;
	*why = slog_limits_words(words, &limits, at);
	if (*why == NULL && limits.size == 0 && limits.files == 0)
		*why = "there are no limits";
	if (*why == NULL)
		add_row(t, name, limits);
	return *why == NULL;
}

static bool
read_file(FILE *f, const char *path, struct slog_limits_table *t, struct ga_diag *diag)
{
	char *text = NULL;
	size_t room = 0;
	bool good = true;
	ssize_t n;

	for (unsigned number = 1; (n = getline(&text, &room, f)) >= 0; number++) {
		struct ga_str line = { text, (size_t)n }, at;
		const char *why;

		while (line.n > 0 && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
			line.n--;
		if (read_line(t, ga_str_trim(line), &why, &at))
			continue;
		good = false;
		if (diag != NULL && at.n > 0)
			ga_diag_error_at(diag, path, number, (unsigned)(at.p - text) + 1, "`%.*s`: %s", (int)at.n, at.p, why);
		else if (diag != NULL)
			ga_diag_error_at(diag, path, number, 1, "%s", why);
	}
	free(text);
	return good;
}

bool
slog_limits_read(const char *path, struct slog_limits_table *t, struct ga_diag *diag)
{
	FILE *f = fopen(path, "re");
	bool good;

	*t = (struct slog_limits_table){ NULL, 0 };
	if (f == NULL && errno == ENOENT)
		return true;
	if (f == NULL) {
		if (diag != NULL)
			ga_diag_error_at(diag, path, 0, 0, "%s", strerror(errno));
		return false;
	}
	good = read_file(f, path, t, diag);
	fclose(f);
	return good;
}

void
slog_limits_free(struct slog_limits_table *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->row[i].name);
	free(t->row);
	*t = (struct slog_limits_table){ NULL, 0 };
}

static bool
is_called(const char *key, const char *name)
{
	for (; *name != '\0'; key++, name++)
		if (*key != (isalnum((unsigned char)*name) ? toupper((unsigned char)*name) : '_'))
			return false;
	return *key == '\0';
}

struct slog_limits
slog_limits_of(const struct slog_limits_table *t, const char *name)
{
	for (size_t i = t->n; i-- > 0;)
		if (is_called(t->row[i].name, name))
			return t->row[i].limits;
	return (struct slog_limits){ 0, 0 };
}
