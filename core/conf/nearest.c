/*
 * nearest.c - "did you mean": the known name closest to a mistyped one
 *
 * Edit distance with swaps of neighbours (Damerau-Levenshtein, restricted),
 * without regard to case.  A name is close enough when a third of the typed
 * characters at most is wrong.  Names over 64 characters are not compared.
 */
#include <ctype.h>
#include <string.h>

#include "conf/nearest.h"

#define MAX 64

void gac_nearest_init(struct gac_nearest *n, struct ga_str typed)
{
	*n = (struct gac_nearest){ .typed = typed, .distance = (unsigned)(typed.n + 2) / 3 };
	if (n->distance < 1)
		n->distance = 1;
	n->distance++;		/* the first offer has to be better than this */
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static unsigned distance(struct ga_str a, struct ga_str b)
{
	unsigned rows[3][MAX + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];

	for (unsigned j = 0; j <= b.n; j++)
		last[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned *spare = before;

		now[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			now[j] = least(last[j] + 1, now[j - 1] + 1,
			    last[j - 1] + !same(a.p[i - 1], b.p[j - 1]));
			if (i > 1 && j > 1 && same(a.p[i - 1], b.p[j - 2]) &&
			    same(a.p[i - 2], b.p[j - 1]) && before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[b.n];
}

void gac_nearest_offer(struct gac_nearest *n, struct ga_str known)
{
	unsigned d;

	if (n->typed.n == 0 || n->typed.n > MAX || known.n == 0 || known.n > MAX)
		return;
	d = distance(n->typed, known);
	if (d < n->distance) {
		n->distance = d;
		n->best = known;
	}
}

const char *gac_nearest_hint(const struct gac_nearest *n, struct ga_pool *pool)
{
	if (n->best.n == 0)
		return "";
	return ga_fmt(pool, "; did you mean `%.*s`?", (int)n->best.n, n->best.p).p;
}
