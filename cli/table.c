/*
 * table.c - tables of what the daemon answers: see table.h.
 *
 * A cell is as wide as the longest of its heading, its values and its least width; cells
 * that belong together (IP -> IP) share a heading above and a line of dashes below.
 * What comes from DNS is printed without control characters.
 */
#include "config.h"

#include <string.h>

#include "commands.h"
#include "table.h"

/* --- values as text --- */

void
table_text_string(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	(void)now;
	snprintf(to, TABLE_TEXT, "%s", cli_string(c, key));
	for (; *to != '\0'; to++)
		if ((unsigned char)*to < ' ' || *to == 0x7f)
			*to = '?';
}

void
table_text_number(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	(void)now;
	snprintf(to, TABLE_TEXT, "%lld", (long long)cli_int(c, key));
}

void
table_text_yes_no(struct json_object *c, const char *key, const struct timespec *now, char *to)
{
	(void)now;
	snprintf(to, TABLE_TEXT, "%s", json_object_get_boolean(cli_member(c, key)) ? "yes" : "no");
}

/* --- the table --- */

struct table {
	FILE *out;
	const struct table_cell *cells;
	size_t ncells;
	int *widths;
};

static bool
joined(const struct table *t, size_t i)
{
	return i < t->ncells && strcmp(t->cells[i].before, "  ") != 0;
}

/* Of cell i and those joined to it; *next: the cell behind them. */
static int
group_width(const struct table *t, size_t i, size_t *next)
{
	int width = t->widths[i];

	for (*next = i + 1; joined(t, *next); ++*next)
		width += (int)strlen(t->cells[*next].before) + t->widths[*next];
	return width;
}

/* A line of a table: what only would be white space at its end is not printed. */
struct line {
	FILE *out;
	int blanks;
};

static void
put(struct line *l, const char *text, int width, bool left)
{
	int n = (int)strlen(text), pad = width > n ? width - n : 0;

	if (!left)
		l->blanks += pad;
	while (n > 0 && text[n - 1] == ' ')
		n--;
	if (n > 0) {
		fprintf(l->out, "%*s%.*s", l->blanks, "", n, text);
		l->blanks = 0;
	}
	l->blanks += (int)strlen(text) - n + (left ? pad : 0);
}

static void
print_heading(const struct table *t)
{
	static const char dashes[] = "----------------------------------------------------------------";
	struct line l = { t->out, 0 };
	size_t i, next;
	int width;

	for (i = 0; i < t->ncells; i = next) {
		width = group_width(t, i, &next);
		put(&l, t->cells[i].before, 0, true);
		put(&l, t->cells[i].above, width, t->cells[i].left);
	}
	l = (struct line){ t->out, 0 };
	fputc('\n', t->out);
	for (i = 0; i < t->ncells; i++) {
		put(&l, t->cells[i].before, 0, true);
		put(&l, t->cells[i].heading, t->widths[i], t->cells[i].left);
	}
	fputc('\n', t->out);
	for (i = 0; i < t->ncells; i = next) {
		fputs(t->cells[i].before, t->out);
		for (width = group_width(t, i, &next); width > 0; width -= (int)sizeof dashes - 1)
			fprintf(t->out, "%.*s", width, dashes);
	}
	fputc('\n', t->out);
}

static void
find_widths(const struct table *t, struct json_object *list, size_t n, const struct timespec *now)
{
	char text[TABLE_TEXT];

	for (size_t i = 0; i < t->ncells; i++) {
		int heading = (int)strlen(t->cells[i].heading);

		t->widths[i] = t->cells[i].least > heading ? t->cells[i].least : heading;
	}
	for (size_t k = 0; k < n; k++)
		for (size_t i = 0; i < t->ncells; i++) {
			int width;

			t->cells[i].text(json_object_array_get_idx(list, k), t->cells[i].key, now, text);
			width = (int)strlen(text);
			if (width > t->widths[i])
				t->widths[i] = width;
		}
}

void
table_print(FILE *out, const struct table_cell *cells, size_t ncells, struct json_object *list,
    const struct timespec *now)
{
	size_t n = list != NULL ? json_object_array_length(list) : 0;
	int widths[TABLE_CELLS];
	const struct table t = { out, cells, ncells, widths };
	char text[TABLE_TEXT];

	find_widths(&t, list, n, now);
	print_heading(&t);
	for (size_t k = 0; k < n; k++) {
		struct line l = { out, 0 };

		for (size_t i = 0; i < ncells; i++) {
			cells[i].text(json_object_array_get_idx(list, k), cells[i].key, now, text);
			put(&l, cells[i].before, 0, true);
			put(&l, text, widths[i], cells[i].left);
		}
		fputc('\n', out);
	}
}
