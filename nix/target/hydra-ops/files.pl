# Changes files, links and folders of the machine, each in one atomic step.
package Files;
use strict;
use warnings;
use Errno;
use Fcntl qw(:DEFAULT :mode);
use IO::Handle;

# Prefix of every path of the machine; only tests set a prefix.
our $root = '';
# Number of changes before tests kill the program.
our $steps_left;

# Name of the staged file in a folder. The fixed name lets the next run find the file that a killed run left. Programs
# that read `*.d` folders ignore dot files.
my $staged = '.hydra-ops-staged';
my $chunk  = 1 << 20;

sub real { $root . $_[0] }

# Marks the point before each change of the machine, where tests can kill the program.
sub step {
    return unless defined $steps_left;
    kill 'KILL', $$ if $steps_left-- <= 0;
}

sub parent { $_[0] =~ m{^(.*)/[^/]*\z}s ? ($1 eq '' ? '/' : $1) : '.' }

sub exists_at { my @s = lstat real($_[0]); scalar @s }

sub read_bytes {
    my ($path) = @_;
    open my $in, '<:raw', real($path) or return undef;
    local $/;
    my $bytes = <$in>;
    return defined $bytes ? $bytes : '';
}

sub names_in {
    opendir my $folder, real($_[0]) or return ();
    return grep { !/^\.\.?\z/ } readdir $folder;
}

# --- writing -----------------------------------------------------------------------------------------------------

# Opens the content of a file: { text or source (a path), mode, uid, gid }.
sub open_content {
    my ($want) = @_;
    my $in;
    if (defined $want->{text}) { open $in, '<:raw', \$want->{text} or die "cannot read a text in memory: $!\n" }
    else                       { open $in, '<:raw', $want->{source} or die "cannot read $want->{source}: $!\n" }
    return $in;
}

sub is_as_wanted {
    my ($path, $want) = @_;
    my @s = lstat real($path) or return 0;
    return 0 unless S_ISREG($s[2]) && ($s[2] & 07777) == $want->{mode};
    return 0 if $> == 0 && ($s[4] != $want->{uid} || $s[5] != $want->{gid});
    open my $have, '<:raw', real($path) or return 0;
    my $in = open_content($want);
    my ($wanted, $present) = ('', '');
    while (1) {
        my $read = read($in, $wanted, $chunk);
        defined $read or die "cannot read what is to be in $path: $!\n";
        read($have, $present, $read || 1);
        return 0 if $present ne $wanted;
        return 1 if $read == 0;
    }
}

# Writes a file if it differs from the wanted file; returns true after a write.
sub put {
    my ($path, $want) = @_;
    return 0 if is_as_wanted($path, $want);
    replace($path, $want);
    return 1;
}

sub replace {
    my ($path, $want) = @_;
    -d real($path) && ! -l real($path) and die "$path is a folder\n";
    my $new = stage($path, $want);
    step();
    if (!rename $new, real($path)) {
        # A container's /etc/hosts is a separate mount, which a rename cannot replace.
        $!{EBUSY} or die "cannot rename to $path: $!\n";
        overwrite($path, $want);
        unlink $new;
    }
    sync_folder(parent($path));
}

sub overwrite {
    my ($path, $want) = @_;
    open my $out, '>:raw', real($path) or die "cannot write $path: $!\n";
    pour($want, $out, $path);
    $out->sync && close $out or die "cannot write $path to the disk: $!\n";
}

sub pour {
    my ($want, $out, $path) = @_;
    my $in    = open_content($want);
    my $bytes = '';
    while (my $read = read($in, $bytes, $chunk) // die "cannot read what is to be in $path: $!\n") {
        print {$out} $bytes or die "cannot write $path: $!\n";
    }
    $out->flush or die "cannot write $path: $!\n";
}

# Stages a file and never follows a link: the folder may belong to a user other than root.
sub stage {
    my ($path, $want) = @_;
    my $new = staged_in(parent($path));
    unlink $new;
    step();
    sysopen my $out, $new, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600 or die "cannot write beside $path: $!\n";
    binmode $out;
    pour($want, $out, $path);
    if ($> == 0) { chown $want->{uid}, $want->{gid}, $out or die "cannot change the owner of $path: $!\n" }
    chmod $want->{mode}, $out or die "cannot change the mode of $path: $!\n";
    $out->sync && close $out or die "cannot write $path to the disk: $!\n";
    return $new;
}

# Creates a link; returns true if the link was missing or had another target.
sub link_to {
    my ($path, $target) = @_;
    my $present = readlink real($path);
    return 0 if defined $present && $present eq $target;
    my $new = staged_in(parent($path));
    unlink $new;
    step();
    symlink $target, $new or die "cannot make the link $path: $!\n";
    step();
    rename $new, real($path) or die "cannot make the link $path: $!\n";
    return 1;
}

sub remove {
    my ($path) = @_;
    my @s = lstat real($path) or return 0;
    if (S_ISDIR($s[2])) { print "file $path left alone: it is a folder now\n"; return 0 }
    step();
    unlink real($path) or die "cannot remove $path: $!\n";
    sync_folder(parent($path));
    return 1;
}

sub staged_in { my $folder = real($_[0]); $folder =~ s{/\z}{}; "$folder/$staged" }

# Removes staged files that a killed run left before their rename.
sub sweep { unlink staged_in($_) for @_ }

# Syncs a folder, as far as the file system supports this.
sub sync_folder {
    open my $folder, '<', real($_[0]) or return;
    $folder->sync;
}

# --- folders -----------------------------------------------------------------------------------------------------

# Lists the missing parent folders of a path, outermost first.
sub missing_parents {
    my ($path) = @_;
    my @missing;
    for (my $folder = parent($path); $folder ne '/' && !-d real($folder); $folder = parent($folder)) {
        unshift @missing, $folder;
    }
    return @missing;
}

sub make_parents {
    for my $folder (missing_parents($_[0])) {
        step();
        mkdir real($folder), 0755 or die "cannot make the folder $folder: $!\n";
        # The mode must not depend on the umask.
        chmod 0755, real($folder);
    }
}

# Removes a folder only if it is empty.
sub remove_folder { step(); rmdir real($_[0]) }

# --- saved originals ---------------------------------------------------------------------------------------------

# Copies a file or link that hydra-ops did not write, with its owner, mode and times.
sub save {
    my ($path, $copy) = @_;
    my @s = lstat real($path);
    make_parents($copy);
    if (S_ISLNK($s[2])) {
        link_to($copy, readlink real($path));
        lchown_link($copy, @s[4, 5]);
        return;
    }
    replace($copy, { source => real($path), mode => $s[2] & 07777, uid => $s[4], gid => $s[5] });
    utime @s[8, 9], real($copy);
}

# Puts a saved file back; the copy stays until the record is written.
sub put_back {
    my ($path, $copy) = @_;
    my @s = lstat real($copy) or die "the saved original of $path is gone from $copy\n";
    make_parents($path);
    if (S_ISLNK($s[2])) {
        link_to($path, readlink real($copy));
        lchown_link($path, @s[4, 5]);
        return;
    }
    my $want = { source => real($copy), mode => $s[2] & 07777, uid => $s[4], gid => $s[5] };
    replace($path, $want);
    utime @s[8, 9], real($path);
}

# Changes the owner of a link itself with `chown`, because perl has no function for this.
sub lchown_link {
    my ($path, $uid, $gid) = @_;
    return if $> != 0 || ($uid == 0 && $gid == 0);
    system('chown', '-h', "$uid:$gid", '--', real($path));
}

1;
