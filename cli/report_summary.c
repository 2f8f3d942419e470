/*
 * report_summary.c - attempts counted by domain, VirtualMTA, status or reply: see report.h.
 *
 * One hash table a summary, with open addressing.  Its memory has a bound: when SUMMARY_KEYS_MAX
 * keys are there, what has a further one is counted under OTHER, so the sums stay right.
 *
 * Replies of one meaning differ in ids, addresses and times.  So in the key of a reply each word behind
 * the status codes that has a digit, and each with an @, is a `*`.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "report.h"

#define OTHER "(other)"
#define NONE "(none)"
#define SLOTS_FIRST 1024	/* a power of two */

enum status { SUCCESS, DEFERRAL, FAILURE, FAILURE_TOOLONG, CONNMAXOUT, UNKNOWN, STATUSES };
static const char *const status_names[STATUSES] = {
	"success", "deferral", "failure", "failure_toolong", "connmaxout", "unknown"
};

/* In buf, or elsewhere when it is of the record or for ever. */
typedef struct ga_str key_fn(const struct report_summary *, struct record *, char buf[SUMMARY_KEY_LEN]);

struct entry {
	uint32_t hash;
	uint64_t total, n[STATUSES];
	struct ga_str key;
};

struct kind {
	const char *by, *heading;
	key_fn *key;
};

struct report_summary {
	const struct kind *kind;
	const struct report_mtas *mtas;
	struct ga_pool *pool;		/* of entries */
	struct entry **slots;
	size_t nslots, nkeys, keys_max;
	struct entry all, other;
};

/* --- keys --- */

static struct ga_str
or_none(struct ga_str s)
{
	return s.n > 0 ? s : GA_STR(NONE);
}

static struct ga_str
key_domain(const struct report_summary *s, struct record *r, char buf[SUMMARY_KEY_LEN])
{
	struct ga_str address = record_column(r, COL_RECIPIENT);
	const char *at = memrchr(address.p, '@', address.n);
	size_t n = at != NULL ? (size_t)(address.p + address.n - at) - 1 : 0;

	(void)s;
	if (n > SUMMARY_KEY_LEN)
		n = SUMMARY_KEY_LEN;
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)(at[i + 1] >= 'A' && at[i + 1] <= 'Z' ? at[i + 1] - 'A' + 'a' : at[i + 1]);
	return or_none((struct ga_str){ buf, n });
}

/* The one that it was sent by, and where it was not sent, that it was assigned to. */
static struct ga_str
key_mta(const struct report_summary *s, struct record *r, char buf[SUMMARY_KEY_LEN])
{
	struct ga_str number = record_column(r, COL_OUTMTAID);
	const char *name;

	(void)buf;
	if (number.n == 0 || ga_str_eq(number, GA_STR("0")))
		number = record_column(r, COL_MTAID);
	name = report_mtas_name(s->mtas, number);
	return or_none(name != NULL ? ga_str_c(name) : number);
}

static struct ga_str
key_status(const struct report_summary *s, struct record *r, char buf[SUMMARY_KEY_LEN])
{
	(void)s;
	(void)buf;
	return or_none(record_column(r, COL_STATUS));
}

static bool
has_digit(struct ga_str word)
{
	for (size_t i = 0; i < word.n; i++)
		if (word.p[i] >= '0' && word.p[i] <= '9')
			return true;
	return false;
}

/* "550", "5.1.1", "550-5.1.1" */
static bool
is_code(struct ga_str word)
{
	for (size_t i = 0; i < word.n; i++)
		if ((word.p[i] < '0' || word.p[i] > '9') && word.p[i] != '.' && word.p[i] != '-')
			return false;
	return true;
}

static size_t
put_word(char *buf, size_t n, struct ga_str word)
{
	if (n > 0 && n < SUMMARY_KEY_LEN)
		buf[n++] = ' ';
	if (word.n > SUMMARY_KEY_LEN - n)
		word.n = SUMMARY_KEY_LEN - n;
	memcpy(buf + n, word.p, word.n);
	return n + word.n;
}

static struct ga_str
key_reply(const struct report_summary *s, struct record *r, char buf[SUMMARY_KEY_LEN])
{
	struct ga_str text = record_column(r, COL_MESSAGE);
	bool codes = true;
	size_t n = 0;

	(void)s;
	for (size_t i = 0; i < text.n && n < SUMMARY_KEY_LEN;) {
		const char *blank = memchr(text.p + i, ' ', text.n - i);
		struct ga_str word = { text.p + i, blank != NULL ? (size_t)(blank - text.p) - i : text.n - i };

		i += word.n + 1;
		codes = codes && is_code(word);
		if (word.n > 0)
			n = put_word(buf, n, codes || (!has_digit(word) && memchr(word.p, '@', word.n) == NULL) ? word :
			    GA_STR("*"));
	}
	return or_none((struct ga_str){ buf, n });
}

static const struct kind kinds[] = {
	{ "domain", "recipient domain", key_domain },
	{ "virtual-mta", "virtual MTA", key_mta },
	{ "status", "status", key_status },
	{ "reply", "reply", key_reply },
};

/* --- counting --- */

static void
free_summary(void *arg)
{
	struct report_summary *s = arg;

	ga_pool_free(s->pool);
	free(s->slots);
}

struct report_summary *
report_summary_new(struct ga_pool *pool, const char *by, const struct report_mtas *mtas, size_t keys_max)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strcmp(kinds[i].by, by) == 0) {
			struct report_summary *s = ga_alloc(pool, sizeof *s);

			*s = (struct report_summary){ .kind = &kinds[i], .mtas = mtas, .pool = ga_pool_new(0),
				.nslots = SLOTS_FIRST, .keys_max = keys_max };
			ga_on_free(pool, free_summary, s);
			s->slots = ga_xcalloc(s->nslots, sizeof(struct entry *));
			s->all.key = GA_STR("all");
			s->other.key = GA_STR(OTHER);
			return s;
		}
	return NULL;
}

const char *
report_summary_by(const struct report_summary *s)
{
	return s->kind->by;
}

/* Where the entry of a key is, or would be. */
static struct entry **
slot_of(struct entry **slots, size_t nslots, uint32_t hash, struct ga_str key)
{
	size_t i = hash & (nslots - 1);

	while (slots[i] != NULL && (slots[i]->hash != hash || !ga_str_eq(slots[i]->key, key)))
		i = (i + 1) & (nslots - 1);
	return &slots[i];
}

static void
grow(struct report_summary *s)
{
	size_t nslots = 2 * s->nslots;
	struct entry **slots = ga_xcalloc(nslots, sizeof(struct entry *));

	for (size_t i = 0; i < s->nslots; i++)
		if (s->slots[i] != NULL)
			*slot_of(slots, nslots, s->slots[i]->hash, s->slots[i]->key) = s->slots[i];
	free(s->slots);
	s->slots = slots;
	s->nslots = nslots;
}

static struct entry *
entry_of(struct report_summary *s, struct ga_str key)
{
	uint32_t hash = ga_str_hash(key, false);
	struct entry **slot = slot_of(s->slots, s->nslots, hash, key);

	if (*slot != NULL)
		return *slot;
	if (s->nkeys == s->keys_max)
		return &s->other;
	if (2 * ++s->nkeys > s->nslots) {
		grow(s);
		slot = slot_of(s->slots, s->nslots, hash, key);
	}
	*slot = ga_alloc(s->pool, sizeof **slot);
	**slot = (struct entry){ .hash = hash, .key = ga_dup(s->pool, key) };
	return *slot;
}

static enum status
status_of(struct ga_str text)
{
	enum status st = SUCCESS;

	while (st < UNKNOWN && !ga_str_eq(text, ga_str_c(status_names[st])))
		st++;
	return st;
}

static void
count(struct entry *e, enum status st)
{
	e->total++;
	e->n[st]++;
}

void
report_summary_add(struct report_summary *s, struct record *r)
{
	char buf[SUMMARY_KEY_LEN];
	struct ga_str key = s->kind->key(s, r, buf);
	enum status st = status_of(record_column(r, COL_STATUS));

	if (key.n > SUMMARY_KEY_LEN)
		key.n = SUMMARY_KEY_LEN;
	count(entry_of(s, key), st);
	count(&s->all, st);
}

/* --- output --- */

/* The most first; of the same number by name. */
static int
more_first(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
	int order;

	if (x->total != y->total)
		return x->total > y->total ? -1 : 1;
	order = memcmp(x->key.p, y->key.p, n);
	return order != 0 ? order : (x->key.n > y->key.n) - (x->key.n < y->key.n);
}

/* All entries in order; free() it.  *n: how many. */
static struct entry **
sorted(struct report_summary *s, size_t *n)
{
	struct entry **list = ga_xcalloc(s->nkeys + 1, sizeof(struct entry *));

	*n = 0;
	for (size_t i = 0; i < s->nslots; i++)
		if (s->slots[i] != NULL)
			list[(*n)++] = s->slots[i];
	if (*n > 1)
		qsort(list, *n, sizeof(struct entry *), more_first);
	if (s->other.total > 0)
		list[(*n)++] = &s->other;
	return list;
}

static double
percent(uint64_t n, uint64_t of)
{
	return of > 0 ? 100.0 * (double)n / (double)of : 0;
}

/* Statuses that nothing had are no columns, but for the three of every report. */
static bool
shown(const struct report_summary *s, enum status st)
{
	return st <= FAILURE || s->all.n[st] > 0;
}

static void
print_row(FILE *out, const struct report_summary *s, const struct entry *e)
{
	fprintf(out, "%10llu %5.1f%%", (unsigned long long)e->total, percent(e->total, s->all.total));
	for (enum status st = 0; st < STATUSES; st++)
		if (shown(s, st))
			fprintf(out, "  %9llu %5.1f%%", (unsigned long long)e->n[st], percent(e->n[st], e->total));
	fputs("  ", out);
	for (size_t i = 0; i < e->key.n; i++)
		putc((unsigned char)e->key.p[i] < ' ' || e->key.p[i] == 0x7f ? '?' : e->key.p[i], out);
	putc('\n', out);
}

void
report_summary_print(FILE *out, struct report_summary *s)
{
	size_t n;
	struct entry **list = sorted(s, &n);

	fprintf(out, "%10s %6s", "attempts", "share");
	for (enum status st = 0; st < STATUSES; st++)
		if (shown(s, st))
			fprintf(out, "  %16s", status_names[st]);
	fprintf(out, "  %s\n", s->kind->heading);
	for (size_t i = 0; i < n; i++)
		print_row(out, s, list[i]);
	print_row(out, s, &s->all);
	free(list);
}

void
report_summary_print_json(FILE *out, struct report_summary *s)
{
	size_t n;
	struct entry **list = sorted(s, &n);

	fprintf(out, "\"%s\":[", s->kind->by);
	for (size_t i = 0; i < n; i++) {
		fprintf(out, "%s\n{\"%s\":", i > 0 ? "," : "", s->kind->by);
		report_json_string(out, list[i]->key);
		fprintf(out, ",\"attempts\":%llu,\"share_percent\":%.2f", (unsigned long long)list[i]->total,
		    percent(list[i]->total, s->all.total));
		for (enum status st = 0; st < UNKNOWN; st++)
			fprintf(out, ",\"%s\":%llu,\"%s_percent\":%.2f", status_names[st], (unsigned long long)list[i]->n[st],
			    status_names[st], percent(list[i]->n[st], list[i]->total));
		putc('}', out);
	}
	fputs("]", out);
	free(list);
}
