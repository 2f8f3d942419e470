/*
 * queue_check.c - `greenarrow queue_check`: is every octet of the spool good?
 *
 * Runs offline, in a process of its own, with the lock held; changes nothing.
 * Reads every record with its body (recovery trusts indexes, this does not),
 * compares with the indexes, then lists what is live.  Exit code 1 when anything
 * is damaged.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <greenarrow/ga_module.h>

#include "engine.h"
#include "module.h"

struct check {
	struct spool *s;
	uint64_t damaged, records, torn;
	bool list;
};

static void
print_line(void *ctx, enum ga_level level, const char *tag, const char *text)
{
	(void)ctx;
	if (level >= GA_WARN)
		fprintf(stderr, "%s %s\n", tag, text);
}

static void
damage(void *arg, uint64_t from, uint64_t to, bool acknowledged, const unsigned char *bytes)
{
	struct check *c = arg;

	(void)bytes;
	printf("  octets %" PRIu64 " to %" PRIu64 ": %s\n", from, to,
	    acknowledged ? "damaged" : "a torn tail");
	if (acknowledged)
		c->damaged++;
	else
		c->torn++;
}

static void
complain_of_index(struct check *c, const struct segment *g, const struct seg_index *found)
{
	struct seg_index ix;
	int error;

	error = seg_index_load(c->s->fs, c->s->dir, g, false, &ix);
	if (error == 0 && (ix.count != found->count || ix.n != found->n ||
	    memcmp(ix.p, found->p, ix.n) != 0)) {
		printf("  the index lists %" PRIu64 " records, the segment holds %" PRIu64 "\n", ix.count,
		    found->count);
		c->damaged++;
	} else if (error != 0 && error != -ENOENT) {
		printf("  the index is damaged; it is made again at the next start\n");
		c->damaged++;
	}
	seg_index_free(&ix);
}

static void
check_segment(struct check *c, struct segment *g)
{
	struct seg_index ix;

	printf("%016" PRIx64 ".seg\n", g->number);
	if (seg_scan(c->s->fs, g, &ix, damage, c) != 0) {
		printf("  cannot be read\n");
		c->damaged++;
		return;
	}
	c->records += ix.count;
	if (g->kind == SEG_RECORDS)
		complain_of_index(c, g, &ix);
	seg_index_free(&ix);
}

/* What steers the message or tells of it, "name=value", each behind a blank. */
static void
print_attributes(struct ga_str attrs)
{
	static const struct { unsigned key; const char *name; } shown[] = {
		{ GA_ATTR_VIRTUAL_MTA, "virtual_mta" }, { GA_ATTR_MAIL_CLASS, "mail_class" },
		{ GA_ATTR_SEND_ID, "send_id" }, { GA_ATTR_LIST_ID, "list_id" },
		{ GA_ATTR_INSTANCE_ID, "instance_id" }, { GA_ATTR_CLICK_TRACKING_ID, "click_tracking_id" },
	};
	struct ga_str v;

	for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
		if (ga_attr_get(attrs, shown[i].key, &v))
			printf(" %s=%.*s", shown[i].name, (int)v.n, v.p);
}

static void
print_message(void *arg, struct table_entry *e)
{
	struct check *c = arg;
	const struct ga_envelope *v;
	struct ga_message *m;
	struct rec_header h;
	struct located at;
	unsigned char *buf;
	uint32_t i;
	int error;

	if (!read_locate(c->s, e->seq, &at))
		return;
	error = read_record(c->s, at.segment, at.offset, &h, &buf, true);
	m = error != 0 ? NULL : read_build(c->s, NULL, &at, (struct ga_str){ (char *)buf, h.meta_len }, &error);
	free(buf);
	free(at.slots);
	if (m == NULL) {
		printf("message %" PRIu64 ": %s\n", e->seq, strerror(error));
		c->damaged++;
		return;
	}
	for (i = 0; i < m->nenvelopes && c->list; i++) {
		v = &m->envelopes[i];
		if (v->flags & GA_ENV_DONE)
			continue;
		printf("%016" PRIx64 " from=<%.*s> to=<%.*s> octets=%" PRIu64 " attempts=%u%s",
			    GA_ENVELOPE_ID(m, v), (int)m->sender.n, m->sender.p, (int)v->recipient.n,
			    v->recipient.p, m->body_size, v->attempts,
			    v->flags & GA_ENV_SUSPENDED ? " suspended" : "");
		print_attributes(m->attrs);
		printf("\n");
	}
	ga_message_unref(m);
}

/* Entered from what is on disk, without writing an index. */
static int
run(struct check *c)
{
	struct spool *s = c->s;
	struct ga_spool_stats st;
	uint32_t i;

	if (recover_open(s) != 0)
		return (1);
	for (i = 0; i < s->ledger.nsegments; i++)
		if (s->ledger.segments[i] != NULL)
			check_segment(c, s->ledger.segments[i]);
	if (recover_load(s) != 0)
		return (1);
	atomic_store(&s->recovered, true);
	table_walk(&s->ledger.table, print_message, c);
	spool_get_stats(s, &st);
	printf("%" PRIu64 " messages, %" PRIu64 " envelopes, %" PRIu64 " segments, %" PRIu64 " octets of which %"
	    PRIu64 " live, %" PRIu64 " records; %" PRIu64 " damaged places, %" PRIu64 " torn tails\n",
	    st.messages, st.envelopes, st.segments, st.bytes, st.live_bytes, c->records, c->damaged, c->torn);
	return (c->damaged > 0 ? 1 : 0);
}

static int
deny(void)
{
	return (-EROFS);
}

static int
deny_open(void *ctx, int dir, const char *name, int flags)
{
	if (flags & O_CREAT)
		return (deny());
	return (spool_fs_real.open(ctx, dir, name, O_RDONLY));
}

static int
deny_fd(void *ctx, int fd)
{
	(void)ctx, (void)fd;
	return (deny());
}

static int
deny_truncate(void *ctx, int fd, uint64_t size)
{
	(void)ctx, (void)fd, (void)size;
	return (deny());
}

static int
deny_unlink(void *ctx, int dir, const char *name)
{
	(void)ctx, (void)dir, (void)name;
	return (deny());
}

static int
deny_rename(void *ctx, int dir, const char *from, int todir, const char *to)
{
	(void)ctx, (void)dir, (void)from, (void)todir, (void)to;
	return (deny());
}

/* Root becomes the user whose queue it is, so that nothing of root's is left in it
 * and nobody's links or files lead root anywhere. */
static bool
become_owner(const char *queue)
{
	struct stat st;

	if (geteuid() != 0 || stat(queue, &st) != 0 || st.st_uid == 0)
		return (true);
	if (setgroups(0, NULL) == 0 && setresgid(st.st_gid, st.st_gid, st.st_gid) == 0 &&
	    setresuid(st.st_uid, st.st_uid, st.st_uid) == 0)
		return (true);
	fprintf(stderr, "cannot become uid %u, whose queue it is: %s\n", (unsigned)st.st_uid, strerror(errno));
	return (false);
}

int
queue_check(struct ga_inst *inst, int argc, char **argv)
{
	struct spool_fs fs = spool_fs_real;
	struct spool_conf conf = { .segment_size = 64u << 20, .fsync = true };
	struct spool_dirs dirs;
	struct check c = { 0 };
	const char *queue = ga_path(GA_PATH_QUEUE);
	char why[512];
	int i, result;

	(void)inst;
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0)
			c.list = true;
		else if (argv[i][0] != '-')
			queue = argv[i];
		else {
			fprintf(stderr, "usage: queue_check [--list] [DIRECTORY]\n");
			return (2);
		}
	}
	if (!become_owner(queue))
		return (1);
	if (!spool_dirs_open(&dirs, queue, false, why, sizeof why)) {
		fprintf(stderr, "%s\n", why);
		return (1);
	}
	fs.open = deny_open;
	fs.sync = deny_fd;
	fs.sync_dir = deny_fd;
	fs.truncate = deny_truncate;
	fs.unlink = deny_unlink;
	fs.rename = deny_rename;
	c.s = spool_new(&fs, dirs.spool, dirs.corrupt, &conf, NULL, print_line, NULL);
	result = run(&c);
	spool_free(c.s);
	spool_dirs_close(&dirs);
	return (result);
}
