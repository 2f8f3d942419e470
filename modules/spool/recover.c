/*
 * recover.c - from what is on disk to a ledger.
 *
 * recover_open() runs on the thread that starts the spool and only looks, so
 * that a foreign format or a trap ends the start with a message.  recover_load()
 * runs on the maintenance thread before the committer begins.
 *
 * 1. Segments with a good index are taken at its word; the others are searched
 *    for records (segment.c), damage is set aside.
 * 2. ABANDON records cut the segments that they name.
 * 3. Searched segments get their index and lose what is behind it: from now on
 *    they are sealed.  Nothing is ever appended to a segment of an earlier life.
 * 4. All records are entered in the order in which they were written.
 * 5. What holds no record is removed; a bad index is removed.
 *
 * A crash at any point leaves what the next start does the same with: files are
 * only added (an index, a copy in corrupt/) or shortened behind their end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct names {
	struct spool *s;
	uint64_t *numbers;
	size_t n, room;
	int error;
};

static void
each_name(void *arg, const char *name)
{
	struct names *l = arg;
	uint64_t number;

	if (strlen(name) != 20)
		return;
	if (seg_parse_name(name, ".seg", &number) || seg_parse_name(name, ".new", &number) ||
	    seg_parse_name(name, ".idx", &number))
		if (number >= l->s->next_number)
			l->s->next_number = number + 1;
	if (!seg_parse_name(name, ".seg", &number))
		return;
	if (l->n == l->room) {
		l->room = l->room * 2 + 64;
		l->numbers = ga_xrealloc(l->numbers, l->room * sizeof *l->numbers);
	}
	l->numbers[l->n++] = number;
}

/* A file whose header is no header: out of the way, whole. */
static int
set_aside(struct spool *s, const char *name, int why)
{
	int error;

	atomic_fetch_add(&s->stats.quarantined, 1);
	error = s->fs->rename(s->fs->ctx, s->dir, name, s->corrupt, name);
	if (error == 0)
		error = s->fs->sync_dir(s->fs->ctx, s->corrupt);
	if (error == 0)
		error = s->fs->sync_dir(s->fs->ctx, s->dir);
	spool_log(s, GA_ERR, "GA-SPOOL-0009", "%s is no segment (%s); moved to corrupt/%s%s", name,
	    strerror(-why), error == 0 ? "" : ": ", error == 0 ? "" : strerror(-error));
	return (error);
}

static int
open_segment(struct spool *s, uint64_t number, struct segment **out)
{
	struct segment *g = seg_new(number);
	uint64_t floor = 0;
	uint32_t format = 0;
	char name[SEG_NAME];
	int error;

	*out = NULL;
	seg_name(name, number, ".seg");
	g->fd = s->fs->open(s->fs->ctx, s->dir, name, O_RDWR);
	error = g->fd < 0 ? g->fd : s->fs->size(s->fs->ctx, g->fd, &g->size);
	if (error == 0)
		error = seg_get_header(s->fs, g, &floor, &format);
	if (error == 0) {
		if (floor > s->next_seq)
			s->next_seq = floor;
		*out = g;
		return (0);
	}
	if (error == -EPROTONOSUPPORT)
		spool_log(s, GA_ERR, "GA-SPOOL-0010", "%s has format %u; this version knows format %u "
		    "only and leaves the queue alone", name, format, SEG_FORMAT);
	else if (error == -EBADMSG || error == -ESTALE)
		error = set_aside(s, name, error);
	else
		spool_log(s, GA_ERR, "GA-SPOOL-0011", "cannot open %s: %s%s", name, strerror(-error),
		    error == -ELOOP || error == -EPERM ? "; a segment is a plain file of the daemon's "
		    "user with one name" : "");
	seg_free(g, s->fs);
	return (error);
}

int
recover_open(struct spool *s)
{
	struct names l = { .s = s };
	struct segment *g;
	size_t i;
	int error;

	error = s->fs->list(s->fs->ctx, s->dir, each_name, &l);
	if (error != 0)
		spool_log(s, GA_ERR, "GA-SPOOL-0012", "cannot list the spool: %s", strerror(-error));
	for (i = 0; i < l.n && error == 0; i++) {
		error = open_segment(s, l.numbers[i], &g);
		if (error == 0 && g != NULL)
			ledger_add(&s->ledger, g);
	}
	free(l.numbers);
	return (-error);
}

/* A segment on its way into the ledger. */
struct loading {
	struct segment *g;
	struct seg_index ix;		/* data only when searched, and between two steps */
	bool searched;
	struct spool *s;
};

static void
found_damage(void *arg, uint64_t from, uint64_t to, bool acknowledged, const unsigned char *bytes)
{
	struct loading *l = arg;

	/* A tail that no later batch knows of was most likely never synced, and a stop without
	 * warning leaves one now and then.  It is kept all the same: nobody can tell it from a
	 * last batch that was synced and has been damaged since. */
	l->g->damaged |= acknowledged;
	set_aside_octets(l->s, l->g, from, to, bytes, !acknowledged);
}

/* Index, or search. */
static int
look_into(struct spool *s, struct loading *l)
{
	int error;

	error = seg_index_load(s->fs, s->dir, l->g, true, &l->ix);
	if (error == 0 && l->ix.has_abandon)
		error = seg_index_load(s->fs, s->dir, l->g, false, &l->ix);
	if (error == 0)
		return (0);
	if (error != -ENOENT)
		spool_log(s, GA_WARN, "GA-SPOOL-0014", "the index of %016llx.seg is of no use (%s); "
		    "reading the segment", (unsigned long long)l->g->number, strerror(-error));
	l->searched = true;
	error = seg_scan(s->fs, l->g, &l->ix, found_damage, l);
	if (error != 0)
		spool_log(s, GA_ERR, "GA-SPOOL-0015", "cannot read %016llx.seg: %s",
		    (unsigned long long)l->g->number, strerror(-error));
	return (error);
}

static void
obey_abandons(struct loading *all, size_t n, const struct loading *one)
{
	struct rec_header h;
	struct rec_abandon a;
	struct ga_str meta;
	size_t pos = 0, i;
	bool bad;

	while (seg_index_next(&one->ix, &pos, &h, &meta, &bad))
		if (h.type == REC_ABANDON && rec_get_abandon(meta, &a))
			for (i = 0; i < n; i++)
				if (all[i].g->number == a.segment && all[i].searched) {
					seg_index_cut(&all[i].ix, a.cut);
					all[i].g->state = SEG_FAILED;
				}
}

/* What was searched is sealed here and now. */
static void
seal(struct spool *s, struct loading *l)
{
	uint64_t end = (l->ix.end + SEG_START - 1) / SEG_START * SEG_START;
	int error;

	/* what was found may be in the page cache only */
	error = s->conf.fsync ? s->fs->sync(s->fs->ctx, l->g->fd) : 0;
	if (error == 0)
		error = seg_index_save(s->fs, s->dir, l->g, &l->ix);
	l->g->indexed = error == 0;
	if (error == 0 && end < l->g->size &&
	    s->fs->truncate(s->fs->ctx, l->g->fd, end) == 0)
		l->g->size = end;
}

static int
by_order(const void *a, const void *b)
{
	const struct loading *x = a, *y = b;

	return (x->ix.order < y->ix.order ? -1 : x->ix.order > y->ix.order);
}

/* The records of one segment; its index was good a moment ago. */
static int
enter_all(struct spool *s, struct loading *l)
{
	struct rec_header h;
	struct ga_str meta;
	size_t pos = 0;
	bool bad = false;
	int error = 0;

	if (l->ix.p == NULL && l->ix.count > 0) {
		error = seg_index_load(s->fs, s->dir, l->g, false, &l->ix);
		if (error != 0) {
			/* its data are bad though its header is not */
			error = seg_scan(s->fs, l->g, &l->ix, found_damage, l);
			seg_index_cut(&l->ix, l->g->end);
			l->g->indexed = false;
		}
	}
	while (error == 0 && seg_index_next(&l->ix, &pos, &h, &meta, &bad))
		if (!ledger_enter(&s->ledger, l->g, &h, meta))
			spool_log(s, GA_ERR, "GA-SPOOL-0016", "%016llx.seg: the record at %llu makes no "
			    "sense", (unsigned long long)l->g->number, (unsigned long long)h.offset);
	seg_index_free(&l->ix);
	return (error);
}

/* Bodies have neither index nor order; messages count their pieces. */
static size_t
gather(struct spool *s, struct loading *all)
{
	struct segment *g;
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < s->ledger.nsegments; i++) {
		g = s->ledger.segments[i];
		if (g == NULL)
			continue;
		g->state = SEG_SEALED;
		if (g->kind == SEG_BODIES)
			g->end = g->size;
		else
			all[n++] = (struct loading){ .g = g, .s = s };
	}
	return (n);
}

static void
each_leftover(void *arg, const char *name)
{
	struct spool *s = arg;
	uint64_t number;

	if (strlen(name) != 20)
		return;
	if (seg_parse_name(name, ".new", &number) || seg_parse_name(name, ".tmp", &number) ||
	    (seg_parse_name(name, ".idx", &number) && ledger_segment(&s->ledger, number) == NULL))
		s->fs->unlink(s->fs->ctx, s->dir, name);
}

static int
load_all(struct spool *s, struct loading *all, size_t n)
{
	size_t i;
	int error = 0;

	for (i = 0; i < n && error == 0; i++)
		error = look_into(s, &all[i]);
	for (i = 0; i < n && error == 0; i++)
		if (all[i].ix.has_abandon)
			obey_abandons(all, n, &all[i]);
	for (i = 0; i < n && error == 0; i++) {
		all[i].g->order = all[i].ix.order;
		all[i].g->end = all[i].ix.end;
		all[i].g->indexed = !all[i].searched;
		if (all[i].ix.max_seq >= s->next_seq)
			s->next_seq = all[i].ix.max_seq + 1;
		if (all[i].searched && all[i].ix.order != 0)
			seal(s, &all[i]);
	}
	qsort(all, n, sizeof *all, by_order);
	for (i = 0; i < n && error == 0; i++)
		error = enter_all(s, &all[i]);
	return (error);
}

int
recover_load(struct spool *s)
{
	struct loading *all = ga_xcalloc(s->ledger.nsegments + 1, sizeof *all);
	size_t n, i;
	int error;

	pthread_mutex_lock(&s->ledger.lock);
	n = gather(s, all);
	error = load_all(s, all, n);
	for (i = 0; i < n; i++)
		seg_index_free(&all[i].ix);
	s->next_seq += SPOOL_SEQ_GAP;
	pthread_mutex_unlock(&s->ledger.lock);
	free(all);
	if (error == 0)
		s->fs->list(s->fs->ctx, s->dir, each_leftover, s);
	return (-error);
}
