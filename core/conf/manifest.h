/*
 * manifest.h - what a module says of itself, read without running it
 *
 * Functions return NULL, or the reason of the refusal as a sentence without a
 * subject (the caller knows the module): every cause has a sentence of its own.
 */
#ifndef GAC_CONF_MANIFEST_H
#define GAC_CONF_MANIFEST_H

#include <sys/types.h>

#include <greenarrow/ga_conf.h>

struct gac_manifest {
	const char *path;		/* resolved; NULL: linked into the program */
	dev_t dev;			/* of the file that was read: the loader */
	ino_t ino;			/* compares them with what it mapped */
	struct ga_str text;		/* all of it, without \002 and \003 */
	const char *name, *version, *scopes, *build_id;
	unsigned abi_major, abi_minor;
	int level;			/* enum ga_abi_level, -1: unknown */
	const char *level_text;
	struct ga_strlist hooks;
	struct ga_str directives;	/* the schema's lines */
};

/* A manifest held in memory: static builds, tests. */
struct gac_manifest_text {
	const char *name;
	struct ga_str text;		/* the content of section .greenarrow */
};

/* Who may own a module and the folders above it besides root. */
struct gac_owners {
	uid_t uid[2];
	size_t n;
};

/* [a-z][a-z0-9_]* */
bool gac_module_name_ok(struct ga_str);
/* The text of a section .greenarrow. */
const char *gac_manifest_parse(struct ga_pool *, struct ga_str section, struct gac_manifest *);
/*
 * path is absolute.  folder: the module directory, when the module was named by
 * its name alone (a link must not lead out of it); NULL for a given path.
 */
const char *gac_manifest_read(struct ga_pool *, const char *path, const char *folder,
    const struct gac_owners *, struct gac_manifest *);
/*
 * The manifests of the modules that are linked into a program (its section
 * .greenarrow holds one after the other).  0: none, or it cannot be read.
 */
size_t gac_manifest_list(struct ga_pool *, const char *program, const struct gac_manifest_text **);
/* Does it fit this program?  name: what it was loaded as; NULL: any. */
const char *gac_manifest_accept(struct ga_pool *, const struct gac_manifest *, const char *name,
    const char *build_id);

#endif
