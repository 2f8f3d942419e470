/*
 * spool.c - the module: directives, threads, and the service "spool".
 *
 * init (main thread, perhaps still root) only registers; the files are opened by
 * the first start(), on a loop and as the daemon's user, because everything in
 * the queue directory is to be that user's.  That first start looks at headers,
 * takes the lock and starts two threads; reading the indexes is theirs.  The
 * last stop() ends them: every request that was made is answered, the active
 * segment is sealed and indexed.
 */
#define GA_LEVEL GA_ABI_STRICT

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <greenarrow/ga_module.h>
#include <greenarrow/json.h>
#include <greenarrow/run.h>
#include <greenarrow/service/control.h>

#include "engine.h"
#include "module.h"

#define SPOOL_DIRECTIVES(X)										\
	X(flag, queue_fsync, "yes", "restart", "general",						\
	    "Answer 250 only when the message is on stable storage; no = a power cut loses mail")	\
	X(size, spool_segment_size, "64MiB", "min=1MiB max=1GiB restart", "general",			\
	    "Size of the files that the queue is kept in")						\
	X(size, queue_min_free, "64MiB", "restart", "general",						\
	    "Refuse new mail with 452 while the file system has less room than this")			\
	X(size, queue_large_message, "256KiB", "min=4KiB max=64MiB restart", "general",			\
	    "Bodies over this go to files of their own and are not kept in memory")

GA_CONF_STRUCT(spool_directives, SPOOL_DIRECTIVES);
#define GA_CF_SELF_ struct spool_directives
GA_CONF_SCHEMA(spool_directives, SPOOL_DIRECTIVES);

/* Where a sync is slow, a batch of 1024 took twice the mail of one of 256; where it is
 * fast, batches never grow so large. */
#define BATCH_BYTES (4u << 20)
#define BATCH_RECORDS 1024u
#define RETRY_MS 1000u

/* One spool a process; the service's functions have no other way to find it. */
static struct {
	pthread_mutex_t lock;
	struct ga_inst *inst;
	struct spool_conf conf;
	struct spool_dirs dirs;
	struct spool *s;
	pthread_t committer, maintenance;
	unsigned started;		/* loops */
	bool failed;
	atomic_bool stop_maintenance;
	int load_error;
} module = { .lock = PTHREAD_MUTEX_INITIALIZER, .dirs = SPOOL_DIRS_CLOSED };

static void
log_line(void *ctx, enum ga_level level, const char *tag, const char *text)
{
	ga_log(ctx, level, tag, "%s", text);
}

static void
service_commit(struct ga_worker *w, struct ga_spool_commit *c)
{
	spool_commit(module.s, w, c);
}

static void
service_update(struct ga_worker *w, struct ga_spool_update *u)
{
	spool_update(module.s, w, u);
}

static void
service_done(struct ga_worker *w, struct ga_spool_done *d)
{
	spool_done(module.s, w, d);
}

static void
service_read(struct ga_worker *w, struct ga_spool_read *r)
{
	spool_read(module.s, w, r);
}

static void
service_read_body(struct ga_worker *w, struct ga_spool_read_body *r)
{
	spool_read_body(module.s, w, r);
}

static struct ga_spool_upload *
service_upload_begin(struct ga_worker *w)
{
	(void)w;
	return (spool_upload_begin());
}

static void
service_upload_piece(struct ga_worker *w, struct ga_spool_piece *p)
{
	spool_upload_piece(module.s, w, p);
}

static void
service_upload_abort(struct ga_worker *w, struct ga_spool_upload *u)
{
	spool_upload_abort(module.s, w, u);
}

static void
service_put_state(struct ga_worker *w, struct ga_str key, struct ga_str value)
{
	spool_put_state(module.s, w, key, value);
}

static void
service_recover(struct ga_worker *w, const struct ga_spool_recovery *r)
{
	spool_recover(module.s, w, ga_worker_index(w), ga_worker_count(), r);
}

static int
service_room(uint64_t octets)
{
	return (spool_room(module.s, octets));
}

static void
service_stats(struct ga_spool_stats *st)
{
	if (module.s != NULL)
		spool_get_stats(module.s, st);
	else
		memset(st, 0, sizeof *st);
}

static const struct ga_spool service = {
	.size = sizeof(struct ga_spool),
	.version = GA_SPOOL_VERSION,
	.commit = service_commit,
	.update = service_update,
	.done = service_done,
	.read = service_read,
	.read_body = service_read_body,
	.upload_begin = service_upload_begin,
	.upload_piece = service_upload_piece,
	.upload_abort = service_upload_abort,
	.put_state = service_put_state,
	.recover = service_recover,
	.room = service_room,
	.stats = service_stats,
};

static void
status(struct ga_inst *inst, struct json_object *all)
{
	struct json_object *o = json_object_new_object();
	struct ga_spool_stats st;

	(void)inst;
	service_stats(&st);
	ga_json_put_int(o, "messages", st.messages);
	ga_json_put_int(o, "envelopes", st.envelopes);
	ga_json_put_int(o, "segments", st.segments);
	ga_json_put_int(o, "bytes", st.bytes);
	ga_json_put_int(o, "live_bytes", st.live_bytes);
	ga_json_put_int(o, "commits", st.commits);
	ga_json_put_int(o, "updates", st.updates);
	ga_json_put_int(o, "dones", st.dones);
	ga_json_put_int(o, "syncs", st.syncs);
	json_object_object_add(o, "records_per_sync", json_object_new_double(st.batches == 0 ? 0 :
	    (double)(st.commits + st.updates + st.dones) / (double)st.batches));
	ga_json_put_int(o, "sync_us_average", st.syncs == 0 ? 0 : st.sync_us_total / st.syncs);
	ga_json_put_int(o, "sync_us_max", st.sync_us_max);
	ga_json_put_int(o, "compacted", st.compacted);
	ga_json_put_int(o, "quarantined", st.quarantined);
	ga_json_put_int(o, "failed_syncs", st.failed_syncs);
	ga_json_put_int(o, "free_bytes", st.free_bytes);
	ga_json_put_bool(o, "full", st.full);
	json_object_object_add(all, "spool", o);
}

static void *
maintenance_thread(void *arg)
{
	struct spool *s = arg;
	int wait;

	module.load_error = recover_load(s);
	if (module.load_error != 0) {
		/* half a queue must not look like a whole one: nothing is taken, nothing sent */
		ga_log(module.inst, GA_ERR, "GA-SPOOL-0020", "the queue cannot be read: %s; no mail is "
		    "accepted or delivered", strerror(module.load_error));
		atomic_store(&s->stats.full, true);
		return (NULL);
	}
	maint_prepare(s);
	atomic_store(&s->recovered, true);
	inbox_wake(&s->commits);
	while (!atomic_load(&module.stop_maintenance)) {
		wait = maint_step(s);
		if (wait != 0)
			inbox_sleep(&s->chores, wait);
	}
	maint_settle(s);
	return (NULL);
}

static void *
committer_thread(void *arg)
{
	struct spool *s = arg;
	int wait;

	while (!atomic_load(&s->recovered) && !atomic_load(&s->closing))
		inbox_sleep(&s->commits, 1000);
	while (atomic_load(&s->recovered)) {
		wait = commit_step(s);
		if (wait != 0 && atomic_load(&s->closing))
			break;
		if (wait != 0)
			inbox_sleep(&s->commits, wait);
	}
	return (NULL);
}

/* No signal is ever handled on these threads. */
static int
start_thread(pthread_t *t, void *(*fn)(void *), const char *name)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(t, NULL, fn, module.s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		pthread_setname_np(*t, name);
	return (error);
}

static bool
open_spool(struct ga_inst *inst)
{
	char why[512];

	if (!spool_dirs_open(&module.dirs, ga_path(GA_PATH_QUEUE), true, why, sizeof why)) {
		ga_log(inst, GA_ERR, "GA-SPOOL-0021", "%s", why);
		return (false);
	}
	module.s = spool_new(&spool_fs_real, module.dirs.spool, module.dirs.corrupt, &module.conf,
	    ga_loop_post, log_line, inst);
	if (recover_open(module.s) != 0)
		return (false);
	if (!module.conf.fsync)
		ga_log(inst, GA_WARN, "GA-SPOOL-0022", "queue_fsync is no: mail that was answered with "
		    "250 is lost in a power cut; every delivery record says so");
	if (start_thread(&module.maintenance, maintenance_thread, "spool-maint") != 0 ||
	    start_thread(&module.committer, committer_thread, "spool-commit") != 0) {
		ga_log(inst, GA_ERR, "GA-SPOOL-0023", "cannot start the threads of the spool");
		return (false);
	}
	return (true);
}

static bool
check(const void *conf, struct ga_diag *diag)
{
	const struct spool_directives *d = conf;

	if (d->queue_large_message > d->spool_segment_size / 4) {
		ga_diag_error(diag, "queue_large_message", "must be at most a quarter of "
		    "spool_segment_size");
		return (false);
	}
	if (!d->queue_fsync)
		ga_diag_warn(diag, "queue_fsync", "mail that was accepted is lost in a power cut");
	return (true);
}

static bool
init(struct ga_inst *inst, const void *conf)
{
	const struct spool_directives *d = conf;

	module.inst = inst;
	module.conf = (struct spool_conf){
		.segment_size = d->spool_segment_size / SEG_START * SEG_START,
		.min_free = d->queue_min_free,
		.large = d->queue_large_message,
		.fsync = d->queue_fsync,
		.prefill = true,
		.batch_bytes = BATCH_BYTES,
		.batch_records = BATCH_RECORDS,
		.retry_ms = RETRY_MS,
	};
	ga_service_provide(inst, GA_SPOOL_SERVICE, GA_SPOOL_VERSION, &service);
	ga_status_register(inst, status);
	return (true);
}

static bool
start(struct ga_inst *inst, struct ga_worker *w)
{
	bool ok;

	(void)w;
	pthread_mutex_lock(&module.lock);
	if (module.s == NULL && !module.failed)
		module.failed = !open_spool(inst);
	ok = !module.failed;
	module.started += ok;
	pthread_mutex_unlock(&module.lock);
	return (ok);
}

static void
stop(struct ga_inst *inst, struct ga_worker *w)
{
	(void)inst;
	(void)w;
	pthread_mutex_lock(&module.lock);
	if (module.started > 0 && --module.started == 0) {
		/* large bodies pass through both threads: the committer ends last but for the index */
		atomic_store(&module.s->closing, true);
		inbox_wake(&module.s->commits);
		pthread_join(module.committer, NULL);
		commit_seal(module.s);
		atomic_store(&module.stop_maintenance, true);
		inbox_wake(&module.s->chores);
		pthread_join(module.maintenance, NULL);
	}
	pthread_mutex_unlock(&module.lock);
}

static void
fini(struct ga_inst *inst)
{
	(void)inst;
	if (module.s != NULL)
		spool_free(module.s);
	module.s = NULL;
	spool_dirs_close(&module.dirs);
}

static const struct ga_command commands[] = {
	{ "queue_check", "[--list] [DIRECTORY]",
	    "Verify the queue of a daemon that is not running, print what it holds", queue_check },
	{ NULL, NULL, NULL, NULL }
};

GA_MODULE(spool, "1.0.0", "", GA_NO_HOOKS, SPOOL_DIRECTIVES,
	.summary = "Keeps messages on stable storage",
	.conf = &spool_directives_schema,
	.flags = GA_KEEP_INSTANCE,
	.commands = commands,
	.check = check,
	.init = init,
	.start = start,
	.stop = stop,
	.fini = fini);
