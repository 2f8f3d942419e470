/*
 * report_print.c - records as text: columns, name=<value> pairs, JSON; see report.h.
 *
 * What is in a line came from the network.  The columns are printed as the log has them, for programs; what is for
 * people has no control characters; what is JSON stays JSON also when a line is damaged.
 */
#include "config.h"

#include <string.h>

#include <greenarrow/mail.h>

#include "report.h"

static void
put(FILE *out, struct ga_str s)
{
	fwrite_unlocked(s.p, 1, s.n, out);
}

void
report_print_columns(FILE *out, struct record *r)
{
	if (r->json == NULL)
		put(out, r->raw);
	else
		for (enum report_column c = 0; c < COLUMNS; c++) {
			if (c > 0)
				putc_unlocked('\t', out);
			put(out, record_column(r, c));
		}
	putc_unlocked('\n', out);
}

static void
put_printable(FILE *out, struct ga_str s)
{
	for (size_t i = 0; i < s.n; i++)
		putc_unlocked((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ? '?' : s.p[i], out);
}

/* Columns that a shorter line does not have are not printed. */
void
report_print_human(FILE *out, struct record *r)
{
	size_t n = r->json != NULL ? COLUMNS : r->n;

	for (enum report_column c = 0; c < n; c++) {
		if (c > 0)
			putc_unlocked(' ', out);
		fputs_unlocked(report_columns[c].name, out);
		put(out, GA_STR("=<"));
		put_printable(out, record_column(r, c));
		putc_unlocked('>', out);
	}
	putc_unlocked('\n', out);
}

/* --- JSON --- */

void
report_json_string(FILE *out, struct ga_str s)
{
	bool text = ga_utf8_valid(s);

	putc_unlocked('"', out);
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '"' || c == '\\')
			putc_unlocked('\\', out);
		if (c < ' ' || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			putc_unlocked(c >= 0x80 && !text ? '?' : c, out);
	}
	putc_unlocked('"', out);
}

/* "123", "123.45": a number of JSON as it is. */
static bool
is_number(struct ga_str s)
{
	size_t digits = 0, i = 0;

	for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		digits++;
	if (digits == 0 || (digits > 1 && s.p[0] == '0'))
		return false;
	if (i == s.n)
		return true;
	if (s.p[i] != '.' || i + 1 == s.n)
		return false;
	for (i++; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

/* Written anew, not copied: what reads a damaged line forgives more than JSON allows. */
static void
put_object(FILE *out, struct json_object *o)
{
	fputs_unlocked(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), out);
}

/* No text and no value is null; what is not of its kind is a string. */
static void
put_value(FILE *out, struct record *r, enum report_column c)
{
	enum report_kind kind = report_columns[c].kind;
	struct ga_str s = record_column(r, c);
	struct json_object *o = kind == KIND_OBJECT && s.n > 0 ? record_object(r, s) : NULL;

	if (kind != KIND_TEXT && s.n == 0)
		put(out, GA_STR("null"));
	else if (o != NULL)
		put_object(out, o);
	else if (kind == KIND_NUMBER && is_number(s))
		put(out, s);
	else
		report_json_string(out, s);
	json_object_put(o);
}

static void
put_columns(FILE *out, struct record *r)
{
	for (enum report_column c = 0; c < COLUMNS; c++) {
		fprintf(out, "%c\"%s\":", c == 0 ? '{' : ',', report_columns[c].name);
		put_value(out, r, c);
	}
	putc_unlocked('}', out);
}

void
report_print_json(FILE *out, struct record *r)
{
	if (r->json != NULL)
		put_object(out, r->json);
	else
		put_columns(out, r);
	putc_unlocked('\n', out);
}
