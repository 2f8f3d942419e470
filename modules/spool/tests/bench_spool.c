/*
 * bench_spool.c - commits a second, messages a sync, on a real file system.
 *
 *	bench_spool DIRECTORY [messages [octets [in flight [loops]]]]
 *
 * DIRECTORY must exist and be ours.  Each loop keeps its share of messages in
 * flight, and finishes each one once it is committed, so that segments are
 * recycled too.  With "keep" as sixth argument nothing is finished: the second
 * run of bench_spool DIRECTORY then prints how long the start takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../engine.h"

#define MAX_LOOPS 16

struct loop {
	struct spool_inbox inbox;
	pthread_t thread;
	uint64_t todo, done, errors;
	unsigned in_flight;
	size_t octets;
};

struct mail {
	struct ga_spool_commit c;
	struct loop *l;
};

static struct spool *s;
static atomic_bool over;
static bool keep;
static struct loop loops[MAX_LOOPS];

static void
post(struct ga_worker *w, struct ga_post *p)
{
	inbox_put(&((struct loop *)(void *)w)->inbox, GA_CONTAINER(p, struct ga_spool_link, post));
}

static void
print_line(void *ctx, enum ga_level level, const char *tag, const char *text)
{
	(void)ctx;
	if (level >= GA_WARN)
		fprintf(stderr, "%s %s\n", tag, text);
}

static void committed(struct ga_worker *, struct ga_spool_commit *);

static void
submit(struct loop *l)
{
	struct ga_attrs attrs = { 0 }, env = { 0 };
	struct mail *k = calloc(1, sizeof *k);
	static char octets[1 << 20];
	struct ga_body *body = ga_body_new();
	struct ga_str list;

	ga_attrs_put(&attrs, GA_ATTR_SENDER, GA_STR("newsletter@lists.example.com"));
	ga_attrs_put(&attrs, GA_ATTR_SEND_ID, GA_STR("campaign-2026-11-25"));
	ga_attrs_put(&attrs, GA_ATTR_MSGUID, GA_STR("1764000000.12345678"));
	ga_attrs_put(&env, GA_ATTR_RECIPIENT, GA_STR("somebody.or.other@example.net"));
	list = (struct ga_str){ env.p, env.n };
	ga_body_append(body, octets, l->octets);
	k->l = l;
	k->c.message = ga_message_new((uint32_t)(l->todo * MAX_LOOPS) + 1, 1, (struct ga_str){ attrs.p, attrs.n },
	    &list, NULL, 1, body);
	k->c.cb = committed;
	k->c.arg = k;
	ga_attrs_free(&attrs);
	ga_attrs_free(&env);
	l->todo--;
	spool_commit(s, (struct ga_worker *)(void *)l, &k->c);
}

static void
committed(struct ga_worker *w, struct ga_spool_commit *c)
{
	struct mail *k = c->arg;
	struct loop *l = k->l;
	struct ga_spool_done d = { .end = { c->message->seq, 0, 0 } };

	l->done++;
	l->errors += c->error != 0;
	if (!keep)
		spool_done(s, w, &d);
	ga_message_unref(c->message);
	free(k);
	if (l->todo > 0)
		submit(l);
}

static void *
run_loop(void *arg)
{
	struct loop *l = arg;
	struct ga_spool_link *op, *next;
	uint64_t all = l->todo;
	unsigned i;

	for (i = 0; i < l->in_flight && l->todo > 0; i++)
		submit(l);
	while (l->done < all) {
		for (op = inbox_take(&l->inbox); op != NULL; op = next) {
			next = op_next(op);
			op->post.fn(op->home, &op->post);
		}
		if (l->done < all)
			inbox_sleep(&l->inbox, 1000);
	}
	return (NULL);
}

static void *
committer(void *arg)
{
	int wait;

	(void)arg;
	while ((wait = commit_step(s)) == 0 || !atomic_load(&over))
		if (wait != 0)
			inbox_sleep(&s->commits, wait);
	return (NULL);
}

static void *
maintenance(void *arg)
{
	int wait;

	(void)arg;
	while (!atomic_load(&over)) {
		wait = maint_step(s);
		if (wait != 0)
			inbox_sleep(&s->chores, wait);
	}
	return (NULL);
}

static int
open_or_make(const char *dir, const char *name)
{
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	mkdirat(top, name, 0700);
	fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	close(top);
	if (fd == -1) {
		perror(dir);
		exit(1);
	}
	return (fd);
}

static uint64_t
number(char **argv, int argc, int i, uint64_t otherwise)
{
	return (argc > i ? strtoull(argv[i], NULL, 10) : otherwise);
}

int
main(int argc, char **argv)
{
	struct spool_conf conf = { .segment_size = 64u << 20, .large = 256u << 10, .fsync = true,
	    .prefill = true, .batch_bytes = 4u << 20, .batch_records = 1024, .retry_ms = 1000 };
	uint64_t messages = number(argv, argc, 2, 100000), octets = number(argv, argc, 3, 4096);
	uint64_t in_flight = number(argv, argc, 4, 400), n = number(argv, argc, 5, 2), from, took, i, bad = 0;
	struct ga_spool_stats st;
	pthread_t c, m;

	if (argc < 2 || n == 0 || n > MAX_LOOPS || octets > 1 << 20) {
		fprintf(stderr, "usage: bench_spool DIRECTORY [messages [octets [in flight [loops [keep]]]]]\n");
		return (2);
	}
	keep = argc > 6;
	if (getenv("BATCH_BYTES") != NULL)
		conf.batch_bytes = strtoull(getenv("BATCH_BYTES"), NULL, 10);
	if (getenv("BATCH_RECORDS") != NULL)
		conf.batch_records = (uint32_t)strtoul(getenv("BATCH_RECORDS"), NULL, 10);
	s = spool_new(&spool_fs_real, open_or_make(argv[1], "spool"), open_or_make(argv[1], "corrupt"), &conf,
	    post, print_line, NULL);
	from = ga_mono_us();
	if (recover_open(s) != 0 || recover_load(s) != 0)
		return (1);
	took = ga_mono_us() - from;
	atomic_store(&s->recovered, true);
	spool_get_stats(s, &st);
	printf("start: %" PRIu64 " messages in %.3f s; table %.1f octets a message\n", st.messages,
	    (double)took / 1e6, st.messages == 0 ? 0 : (double)table_memory(&s->ledger.table) / (double)st.messages);
	maint_prepare(s);
	pthread_create(&c, NULL, committer, NULL);
	pthread_create(&m, NULL, maintenance, NULL);
	from = ga_mono_us();
	for (i = 0; i < n; i++) {
		loops[i].todo = messages / n;
		loops[i].in_flight = (unsigned)(in_flight / n);
		loops[i].octets = octets;
		if (inbox_init(&loops[i].inbox) != 0 ||
		    pthread_create(&loops[i].thread, NULL, run_loop, &loops[i]) != 0)
			return (1);
	}
	for (i = 0; i < n; i++) {
		pthread_join(loops[i].thread, NULL);
		bad += loops[i].errors;
	}
	took = ga_mono_us() - from;
	spool_get_stats(s, &st);
	printf("%" PRIu64 " commits of %" PRIu64 " octets in %.2f s: %.0f/s, %.1f records a sync, %.0f us a sync "
	    "(most %" PRIu64 "), %" PRIu64 " segments, %" PRIu64 " refused\n", messages, octets, (double)took / 1e6,
	    (double)messages * 1e6 / (double)(took + 1),
	    (double)(st.commits + st.dones) / (double)(st.batches + (st.batches == 0)),
	    (double)st.sync_us_total / (double)(st.syncs + (st.syncs == 0)), st.sync_us_max, st.segments, bad);
	atomic_store(&over, true);
	inbox_wake(&s->commits);
	inbox_wake(&s->chores);
	pthread_join(c, NULL);
	pthread_join(m, NULL);
	commit_seal(s);
	maint_settle(s);
	for (i = 0; i < n; i++)
		inbox_fini(&loops[i].inbox);
	close(s->dir);
	close(s->corrupt);
	spool_free(s);
	return (bad > 0);
}
