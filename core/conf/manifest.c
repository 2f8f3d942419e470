/*
 * manifest.c - what a module says of itself, read without running it
 *
 * A module carries its name, ABI, hooks and directives as text in the ELF
 * section .greenarrow, between "GreenArrowModule\002" and "\003".  We open the
 * file, make sure that nobody but root or the daemon's user could have written
 * it, and read that section with pread(): a module that is refused has not run
 * one instruction.  Called by gac_conf_load(), by greenarrow_config and again
 * by the loader, which compares dev and ino with what it mapped.
 *
 * Limits: ELF of this machine's class; a section of at most 1 MiB.
 */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/manifest.h"
#include "conf/schema.h"
#include "conf/value.h"

#define SECTION ".greenarrow"
#define OPENING "GreenArrowModule\002"
#define MAX_SECTION (1u << 20)
#define MAX_SECTIONS 4096

#if UINTPTR_MAX > 0xffffffffu
#define OUR_CLASS ELFCLASS64
#else
#define OUR_CLASS ELFCLASS32
#endif

bool gac_module_name_ok(struct ga_str s)
{
	if (s.n == 0 || s.n > 64 || !islower((unsigned char)s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (!islower(c) && !isdigit(c) && c != '_')
			return false;
	}
	return true;
}

/* ---- the text */

static void take_abi(struct ga_pool *pool, struct ga_str value, struct gac_manifest *m)
{
	struct ga_str version = { NULL, 0 }, level = { NULL, 0 }, build = { NULL, 0 }, number;
	int64_t v = 0;

	gac_split(&value, '\t', &version);
	gac_split(&value, '\t', &level);
	gac_split(&value, '\t', &build);
	if (gac_split(&version, '.', &number) && gac_value_int(number, &v) == NULL && v >= 0 && v < 65536)
		m->abi_major = (unsigned)v;
	if (gac_split(&version, '.', &number) && gac_value_int(number, &v) == NULL && v >= 0 && v < 65536)
		m->abi_minor = (unsigned)v;
	m->level_text = ga_dup(pool, level).p;
	m->level = ga_str_eq(level, GA_STR("GA_ABI_STABLE")) ? GA_ABI_STABLE :
	    ga_str_eq(level, GA_STR("GA_ABI_STRICT")) ? GA_ABI_STRICT : -1;
	m->build_id = ga_dup(pool, build).p;
}

static void add_hook(struct ga_pool *pool, struct ga_str name, struct gac_manifest *m)
{
	struct ga_str *v = ga_alloc(pool, (m->hooks.n + 1) * sizeof *v);

	for (size_t i = 0; i < m->hooks.n; i++)
		v[i] = m->hooks.v[i];
	v[m->hooks.n] = ga_dup(pool, name);
	m->hooks.v = v;
	m->hooks.n++;
}

/* A line "key\tvalue" of the head.  Unknown keys are of a newer minor: skipped. */
static void take_line(struct ga_pool *pool, struct ga_str line, struct gac_manifest *m)
{
	struct ga_str key;

	gac_split(&line, '\t', &key);
	if (ga_str_eq(key, GA_STR("name")))
		m->name = ga_dup(pool, line).p;
	else if (ga_str_eq(key, GA_STR("version")))
		m->version = ga_dup(pool, line).p;
	else if (ga_str_eq(key, GA_STR("scopes")))
		m->scopes = ga_dup(pool, line).p;
	else if (ga_str_eq(key, GA_STR("abi")))
		take_abi(pool, line, m);
	else if (ga_str_eq(key, GA_STR("hook")))
		add_hook(pool, line, m);
}

const char *gac_manifest_parse(struct ga_pool *pool, struct ga_str section, struct gac_manifest *m)
{
	static const char opening[] = OPENING;
	const char *start = section.n == 0 ? NULL :
	    memmem(section.p, section.n, opening, sizeof opening - 1), *end;
	struct ga_str rest, line;

	if (start == NULL)
		return "is not a GreenArrow module: its section " SECTION " does not hold a description";
	start += sizeof opening - 1;
	end = memchr(start, '\003', section.n - (size_t)(start - section.p));
	if (end == NULL || memchr(start, '\0', (size_t)(end - start)) != NULL)
		return "is damaged: its description has no end";
	m->text = ga_dup(pool, (struct ga_str){ start, (size_t)(end - start) });
	m->name = m->version = m->scopes = m->build_id = m->level_text = "";
	m->level = -1;
	m->directives = GA_STR("");
	m->hooks = (struct ga_strlist){ NULL, 0 };
	for (rest = m->text; gac_split(&rest, '\n', &line);) {
		if (ga_str_eq(line, GA_STR("directives"))) {
			if (rest.p != NULL)
				m->directives = rest;
			return m->name[0] == '\0' ? "is damaged: its description has no name" : NULL;
		}
		take_line(pool, line, m);
	}
	return "is damaged: its description has no list of directives";
}

const char *gac_manifest_accept(struct ga_pool *pool, const struct gac_manifest *m,
    const char *name, const char *build_id)
{
	if (name != NULL && strcmp(name, m->name) != 0)
		return ga_fmt(pool, "calls itself `%s`: expected `%s`", m->name, name).p;
	if (m->abi_major != GA_ABI_MAJOR)
		return ga_fmt(pool, "was built for module API %u.%u: expected major %d",
		    m->abi_major, m->abi_minor, GA_ABI_MAJOR).p;
	if (m->abi_minor > GA_ABI_MINOR)
		return ga_fmt(pool, "needs module API %u.%u: this program has %d.%d",
		    m->abi_major, m->abi_minor, GA_ABI_MAJOR, GA_ABI_MINOR).p;
	if (m->level < 0)
		return ga_fmt(pool, "has the unknown API level `%s`: expected GA_ABI_STABLE or GA_ABI_STRICT",
		    m->level_text).p;
	if (m->level == GA_ABI_STRICT && strcmp(m->build_id, build_id) != 0)
		return ga_fmt(pool, "is of another build: expected build id `%s`, found `%s`",
		    build_id, m->build_id).p;
	return NULL;
}

/* ---- the file */

static bool owner_ok(const struct gac_owners *o, uid_t uid)
{
	if (uid == 0)
		return true;
	for (size_t i = 0; i < o->n; i++)
		if (o->uid[i] == uid)
			return true;
	return false;
}

static const char *owner_names(struct ga_pool *pool, const struct gac_owners *o)
{
	struct ga_str s = GA_STR("root");

	for (size_t i = 0; i < o->n; i++)
		if (o->uid[i] != 0)
			s = ga_fmt(pool, "%.*s or uid %u", (int)s.n, s.p, (unsigned)o->uid[i]);
	return ga_dup(pool, s).p;
}

/* what: "" for the file itself, else "its folder X " */
static const char *check_stat(struct ga_pool *pool, const struct stat *st,
    const struct gac_owners *owners, const char *what)
{
	if (!owner_ok(owners, st->st_uid))
		return ga_fmt(pool, "is refused: %sis owned by uid %u, expected %s", what,
		    (unsigned)st->st_uid, owner_names(pool, owners)).p;
	/* In a sticky folder only its owner can put another file in the place of ours. */
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0 && !(S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) != 0))
		return ga_fmt(pool, "is refused: %smay be written by group or others (mode %04o), expected mode %04o",
		    what, (unsigned)(st->st_mode & 07777),
		    (unsigned)(st->st_mode & 07777 & ~(unsigned)(S_IWGRP | S_IWOTH))).p;
	return NULL;
}

static const char *check_folders(struct ga_pool *pool, const char *path, const struct gac_owners *owners)
{
	char *folder = (char *)(uintptr_t)ga_dup(pool, ga_str_c(path)).p, *slash;

	while ((slash = strrchr(folder, '/')) != NULL) {
		struct stat st;
		const char *why;

		slash[slash == folder ? 1 : 0] = '\0';
		if (lstat(folder, &st) != 0)
			return ga_fmt(pool, "cannot be checked: %s: %s", folder, strerror(errno)).p;
		why = check_stat(pool, &st, owners, ga_fmt(pool, "its folder %s ", folder).p);
		if (why != NULL || slash == folder)
			return why;
	}
	return NULL;
}

/* A link may point elsewhere in the module directory, not out of it. */
static const char *check_inside(struct ga_pool *pool, const char *resolved, const char *folder)
{
	char *real = realpath(folder, NULL);
	const char *why = NULL;
	size_t n = real == NULL ? 0 : strlen(real);

	if (real == NULL || strncmp(resolved, real, n) != 0 || resolved[n] != '/' ||
	    strchr(resolved + n + 1, '/') != NULL)
		why = ga_fmt(pool, "is refused: it is a link that leads out of the module directory, to %s",
		    resolved).p;
	free(real);
	return why;
}

static bool read_at(int fd, void *to, size_t n, uint64_t at)
{
	return at < INT64_MAX && pread(fd, to, n, (off_t)at) == (ssize_t)n;
}

static const char *check_elf(int fd, ElfW(Ehdr) *eh, bool program)
{
	static const int one = 1;
	int data = *(const char *)&one == 1 ? ELFDATA2LSB : ELFDATA2MSB, self;
	ElfW(Ehdr) mine = { .e_machine = EM_NONE };

	if (!read_at(fd, eh, sizeof *eh, 0) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0)
		return "is not a shared object";
	/* What machine this is, our own executable knows. */
	self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (self >= 0 && !read_at(self, &mine, sizeof mine, 0))
		mine.e_machine = EM_NONE;
	if (self >= 0)
		close(self);
	if (eh->e_ident[EI_CLASS] != OUR_CLASS || eh->e_ident[EI_DATA] != data ||
	    (mine.e_machine != EM_NONE && eh->e_machine != mine.e_machine))
		return "is a shared object for another kind of machine";
	if (eh->e_type != ET_DYN && !(program && eh->e_type == ET_EXEC))
		return "is not a shared object";
	return NULL;
}

/* The bytes of a section in the pool; false when it does not lie in the file. */
static bool read_section(struct ga_pool *pool, int fd, const ElfW(Shdr) *sh, struct ga_str *out)
{
	char *buf;

	if (sh->sh_type == SHT_NOBITS || sh->sh_size == 0 || sh->sh_size > MAX_SECTION)
		return false;
	buf = ga_alloc(pool, sh->sh_size + 1);
	*out = (struct ga_str){ buf, sh->sh_size };
	return read_at(fd, buf, sh->sh_size, sh->sh_offset);
}

static const char *find_section(struct ga_pool *pool, int fd, bool program, struct ga_str *out)
{
	ElfW(Ehdr) eh;
	const char *why = check_elf(fd, &eh, program);
	ElfW(Shdr) *sh;
	struct ga_str names;

	if (why != NULL)
		return why;
	if (eh.e_shentsize != sizeof *sh || eh.e_shnum == 0 || eh.e_shnum > MAX_SECTIONS ||
	    eh.e_shstrndx >= eh.e_shnum)
		return "is not a GreenArrow module: it has no section " SECTION;
	sh = ga_alloc(pool, eh.e_shnum * sizeof *sh);
	if (!read_at(fd, sh, eh.e_shnum * sizeof *sh, eh.e_shoff) ||
	    !read_section(pool, fd, &sh[eh.e_shstrndx], &names))
		return "is a damaged shared object";
	for (unsigned i = 0; i < eh.e_shnum; i++) {
		/* ga_alloc left a NUL after the names. */
		if (sh[i].sh_name >= names.n || strcmp(names.p + sh[i].sh_name, SECTION) != 0)
			continue;
		return read_section(pool, fd, &sh[i], out) ? NULL : "is a damaged shared object";
	}
	return "is not a GreenArrow module: it has no section " SECTION;
}

static const char *read_fd(struct ga_pool *pool, int fd, const struct gac_owners *owners,
    struct gac_manifest *m)
{
	struct ga_str section;
	struct stat st;
	const char *why;

	if (fstat(fd, &st) != 0)
		return ga_fmt(pool, "cannot be read: %s", strerror(errno)).p;
	if (!S_ISREG(st.st_mode))
		return "is refused: it is not a regular file";
	why = check_stat(pool, &st, owners, "it ");
	if (why == NULL)
		why = find_section(pool, fd, false, &section);
	if (why != NULL)
		return why;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	return gac_manifest_parse(pool, section, m);
}

const char *gac_manifest_read(struct ga_pool *pool, const char *path, const char *folder,
    const struct gac_owners *owners, struct gac_manifest *m)
{
	char *real = realpath(path, NULL);
	const char *why;
	int fd;

	*m = (struct gac_manifest){ .level = -1 };
	if (real == NULL)
		return ga_fmt(pool, "cannot be found: %s: %s", path, strerror(errno)).p;
	m->path = ga_dup(pool, ga_str_c(real)).p;
	free(real);
	why = folder == NULL ? NULL : check_inside(pool, m->path, folder);
	if (why == NULL)
		why = check_folders(pool, m->path, owners);
	if (why != NULL)
		return why;
	/* Resolved above: from here on no link is followed any more. */
	fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return ga_fmt(pool, "cannot be read: %s", strerror(errno)).p;
	why = read_fd(pool, fd, owners, m);
	close(fd);
	return why;
}

/* The first manifest in *rest, which then begins behind it. */
static bool next_manifest(struct ga_str *rest, struct ga_str *one)
{
	static const char opening[] = OPENING;
	const char *start = rest->n == 0 ? NULL :
	    memmem(rest->p, rest->n, opening, sizeof opening - 1), *end;

	end = start == NULL ? NULL : memchr(start, '\003', rest->n - (size_t)(start - rest->p));
	if (end == NULL)
		return false;
	*one = (struct ga_str){ start, (size_t)(end - start) + 1 };
	rest->n -= (size_t)(end - rest->p) + 1;
	rest->p = end + 1;
	return true;
}

size_t gac_manifest_list(struct ga_pool *pool, const char *program, const struct gac_manifest_text **out)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct ga_str section = { NULL, 0 }, rest, one;
	struct gac_manifest_text *v;
	struct gac_manifest m;
	size_t n = 0;

	*out = NULL;
	if (fd < 0)
		return 0;
	if (find_section(pool, fd, true, &section) != NULL)
		section.n = 0;
	close(fd);
	for (rest = section; next_manifest(&rest, &one);)
		n++;
	v = ga_alloc(pool, (n + 1) * sizeof *v);
	n = 0;
	for (rest = section; next_manifest(&rest, &one);)
		if (gac_manifest_parse(pool, one, &m) == NULL)
			v[n++] = (struct gac_manifest_text){ m.name, one };
	*out = v;
	return n;
}
