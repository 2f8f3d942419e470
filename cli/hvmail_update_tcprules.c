/*
 * hvmail_update_tcprules.c - make the database of a file of rules anew
 *
 *	hvmail_update_tcprules smtp		control/smtp.tcp -> control/smtp.tcp.cdb
 *
 * The language is in tcprules.c, the format is cdb, written by tinycdb.  The database is written
 * to a file of another name, synced and renamed, so that a reader has the old one or the
 * new one, whole; whatever goes wrong, the old one stays.  Exit codes: 0 done, 111 not done, the reason
 * is on stderr, 2 wrong usage.
 */
#include "config.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_options.h"
#include "conf/conf.h"
#include "tcprules.h"

#define NOT_DONE 111
/* A cdb has 32 bits for places in it; a line can make 256 records of itself. */
#define RULES_MAX (64u << 20)

struct update {
	const char *argv0;
	struct ga_pool *pool;
	const char *rules, *database;		/* paths */
	char *temporary;
	struct stat of_rules;
	struct cdb_make cdb;
};

static bool
failed(const struct update *u, const char *path)
{
	fprintf(stderr, "%s: %s: %s\n", u->argv0, path, strerror(errno));
	return false;
}

/* --- reading --- */

static bool
read_rules(struct update *u, struct ga_str *text)
{
	FILE *f = fopen(u->rules, "re");
	struct stat *st = &u->of_rules;
	char *p;

	if (f == NULL)
		return failed(u, u->rules);
	errno = fstat(fileno(f), st) != 0 ? errno : !S_ISREG(st->st_mode) ? EINVAL :
	    st->st_size > RULES_MAX ? EFBIG : 0;
	if (errno == 0) {
		text->p = p = ga_alloc(u->pool, (size_t)st->st_size + 1);
		text->n = fread(p, 1, (size_t)st->st_size, f);
		errno = ferror(f) ? EIO : 0;
	}
	fclose(f);
	return errno == 0 || failed(u, u->rules);
}

/* --- writing --- */

static bool
add_record(void *arg, struct ga_str key, struct ga_str data)
{
	struct update *u = arg;

	return cdb_make_add(&u->cdb, key.p, (unsigned)key.n, data.p, (unsigned)data.n) == 0;
}

static bool
compile(struct update *u, struct ga_str text)
{
	struct tcprules_fault fault;

	if (tcprules_compile(text, add_record, u, &fault))
		return true;
	if (fault.why == NULL)
		return failed(u, u->temporary);
	fprintf(stderr, "%s:%u: %s\n", u->rules, fault.line, fault.why);
	return false;
}

/* Compiles into fd, up to the disk.  cdb_make_finish() also frees what the others have taken. */
static bool
fill(struct update *u, int fd, struct ga_str text)
{
	bool good;

	if (cdb_make_start(&u->cdb, fd) != 0)
		return failed(u, u->temporary);
	good = compile(u, text);
	if (cdb_make_finish(&u->cdb) != 0 && good)
		good = failed(u, u->temporary);
	return good && (fsync(fd) == 0 || failed(u, u->temporary));
}

static bool
sync_folder(const struct update *u)
{
	const char *slash = strrchr(u->database, '/');
	struct ga_str folder = { u->database, slash != NULL ? (size_t)(slash - u->database) + 1 : 0 };
	const char *path = folder.n > 0 ? ga_cstr(u->pool, folder) : ".";
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);

	if (!good)
		failed(u, path);
	if (fd >= 0)
		close(fd);
	return good;
}

/* Whoever may read the rules may read the database: root may write it, with any umask, and
 * the daemon's user has to read it.  Only root can give it an owner. */
static bool
let_others_read(const struct update *u, int fd)
{
	const struct stat *st = &u->of_rules;

	if (fchown(fd, st->st_uid, st->st_gid) != 0 && geteuid() == 0)
		return false;
	return fchmod(fd, st->st_mode & 0666) == 0;
}

static bool
write_database(struct update *u, struct ga_str text)
{
	int fd;
	bool good;

	u->temporary = (char *)(uintptr_t)ga_fmt(u->pool, "%s.XXXXXX", u->database).p;
	fd = mkostemp(u->temporary, O_CLOEXEC);
	if (fd < 0)
		return failed(u, u->temporary);
	good = fill(u, fd, text) && (let_others_read(u, fd) || failed(u, u->temporary));
	if (close(fd) != 0 && good)
		good = failed(u, u->temporary);
	if (good && rename(u->temporary, u->database) != 0)
		good = failed(u, u->database);
	if (good)
		return sync_folder(u);
	unlink(u->temporary);
	return false;
}

/* --- the program --- */

static void
name_files(struct update *u, const char *control, const char *name)
{
	u->rules = control == NULL ? ga_fmt(u->pool, "%s.tcp", name).p :
	    ga_fmt(u->pool, "%s/%s.tcp", control, name).p;
	u->database = ga_fmt(u->pool, "%s.cdb", u->rules).p;
}

/* NAME: of a file in the control directory or, with a slash in it, a path; ".tcp" is added. */
static bool
update(const char *argv0, const char *name)
{
	struct update u = { .argv0 = argv0, .pool = ga_pool_new(0) };
	bool path = strchr(name, '/') != NULL, good = false;
	const char *control = path ? NULL : gac_conf_control_directory(u.pool, cli_config_filename());
	struct ga_str text = { NULL, 0 };

	if (path || control != NULL) {
		name_files(&u, control, name);
		good = read_rules(&u, &text) && write_database(&u, text);
	} else {
		fprintf(stderr, "%s: %s: cannot be read\n", argv0, cli_config_filename());
	}
	ga_pool_free(u.pool);
	return good;
}

int
main(int argc, char **argv)
{
	static const char *const synopsis[] = { "[--config-filename=FILE] NAME...", NULL };
	static const struct cli_usage usage = { synopsis,
		"Makes the database of access rules NAME.tcp.cdb of the file NAME.tcp in the control\n"
		"directory, as tcprules(1) does.  It takes effect with the next connection.", NULL, 0 };
	int code, i = cli_parse(&usage, argc, argv, &code);

	if (i >= 0 && i == argc)
		code = cli_wrong_usage(argv[0], "the NAME of a file of rules is missing: smtp");
	for (; i >= 0 && i < argc; i++)
		if (!update(argv[0], argv[i]))
			code = NOT_DONE;
	return code;
}
