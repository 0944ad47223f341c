# Programs, files and locks of the machine, for the automatic update.
#
# The files in this folder are joined into one program. The program needs perl with its core modules, curl, and the
# programs of Nix and systemd. Everything else is in the configuration, a JSON file.
package Machine;
use strict;
use warnings;
use Fcntl qw(:flock);
use JSON::PP ();

our $config;
# Number of steps before the program kills itself. Only tests set this number.
our $steps_left;

# Marks a point where a test may kill the program.
sub step {
    return if !defined $steps_left;
    kill 'KILL', $$ if $steps_left <= 0;
    $steps_left--;
}

sub tell { print "$_[0]\n" }

# Returns the seconds since the machine booted. A change of the wall clock does not affect this value.
sub uptime {
    open my $in, '<', '/proc/uptime' or die "cannot read /proc/uptime: $!\n";
    return (split / /, readline $in)[0];
}

# Runs a program with a deadline in seconds. Returns its exit status, its standard output and its standard error.
sub run {
    my ($seconds, @argv) = @_;
    open my $out, '+>', undef or die "cannot make a temporary file: $!\n";
    open my $err, '+>', undef or die "cannot make a temporary file: $!\n";
    my $pid = fork // die "cannot start $argv[0]: $!\n";
    if (!$pid) {
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>&', $out;
        open STDERR, '>&', $err;
        { no warnings 'exec'; exec 'timeout', '-k', '10', $seconds, @argv }
        print STDERR "cannot start timeout: $!\n";
        exit 127;
    }
    waitpid $pid, 0;
    my $code = $? & 127 ? 128 + ($? & 127) : $? >> 8;
    my ($said, $wrong) = map { seek $_, 0, 0; local $/; readline($_) // '' } $out, $err;
    return ($code, $said, $wrong);
}

# Describes how a program failed, by its last lines or by its exit status.
sub failure_of {
    my ($code, $wrong, $seconds) = @_;
    return "no end within $seconds s" if $code == 124 || $code == 137;
    my @lines = grep { /\S/ } split /\n/, $wrong;
    return @lines ? join('; ', splice(@lines, @lines > 3 ? -3 : 0)) : "exit status $code";
}

# Runs a script of hydra-ops with values, as the operator host would. Returns what `run` returns.
sub script {
    my ($name, $seconds, %values) = @_;
    my $text = $config->{scripts}{$name} // die "the configuration has no script $name\n";
    return run($seconds, 'sh', '-c', value_lines(%values) . $text);
}

# Returns the shell assignments that pass values to a script.
sub value_lines {
    my (%values) = @_;
    return join '', map { "$_=" . quoted($values{$_}) . "\n" } sort keys %values;
}

sub quoted {
    my ($text) = @_;
    $text =~ s/'/'\\''/g;
    return "'$text'";
}

# Runs a script that must succeed, and returns its standard output.
sub demand {
    my ($what, $name, $seconds, %values) = @_;
    my ($code, $said, $wrong) = script($name, $seconds, %values);
    die "cannot $what: " . failure_of($code, $wrong, $seconds) . "\n" if $code != 0;
    return $said;
}

# --- files -------------------------------------------------------------------------------------------------------

sub file_of { "$config->{state}/$_[0].json" }

# Reads a state file; returns nothing if the file is missing or damaged.
sub read_own {
    my ($name) = @_;
    open my $in, '<:raw', file_of($name) or return undef;
    my $text = do { local $/; <$in> } // '';
    my $read = eval { JSON::PP->new->utf8->decode($text) };
    return ref $read eq 'HASH' ? $read : undef;
}

# Replaces a state file. A crash leaves either the old text or the complete new text. All users may read the file.
sub write_own {
    my ($name, $content) = @_;
    my $file = file_of($name);
    make_folder($config->{state});
    open my $out, '>:raw', "$file.new" or die "cannot write $file: $!\n";
    print {$out} JSON::PP->new->utf8->canonical->encode($content), "\n";
    close $out or die "cannot write $file: $!\n";
    system('sync', '--', "$file.new") == 0 or die "cannot write $file: sync failed\n";
    rename "$file.new", $file or die "cannot write $file: $!\n";
    step();
}

sub remove_own {
    unlink file_of($_[0]);
    step();
}

sub make_folder {
    my ($folder) = @_;
    return if -d $folder;
    make_folder($folder =~ m{^(.+)/[^/]+\z} ? $1 : '/');
    mkdir $folder, 0755 or -d $folder or die "cannot make $folder: $!\n";
}

# Follows a link to its end in the store; returns an empty string if the link leads elsewhere.
sub place_of {
    my ($code, $said) = run(60, 'readlink', '-e', '--', $_[0]);
    chomp $said;
    return $code == 0 && $said =~ m{^/nix/store/} ? $said : '';
}

# --- locks -------------------------------------------------------------------------------------------------------

# Name of the automatic update for an operator who finds the machine locked (target/machine-lock/take.sh).
my $holder = 'its automatic update';

# Takes the lock that excludes other runs of this program. The kernel releases the lock when the process ends, even
# after a kill. Another program holds the lock briefly while it checks the lock, so several attempts are made.
sub take_own_lock {
    my $file = $config->{lock};
    make_folder($file =~ m{^(.+)/[^/]+\z} ? $1 : '/');
    open my $lock, '>>', $file or die "cannot open $file: $!\n";
    for my $attempt (1 .. 20) {
        return $lock if flock $lock, LOCK_EX | LOCK_NB;
        select undef, undef, undef, 0.1;
    }
    return undef;
}

# Takes the machine's lock, which a deploy takes too. Returns nothing, or a sentence about the obstacle.
sub take_machine {
    my %values = (file => $config->{machineLock}, who => $holder, stale => $config->{staleSeconds});
    my ($code, $said, $wrong) = script('take', 60, %values);
    return undef if $code == 0;
    die 'cannot lock the machine: ' . failure_of($code, $wrong, 60) . "\n" if $code != 75;
    my ($other, $seconds) = split /\n/, $said;
    return "$other has held the machine for " . length_of($seconds // 0);
}

sub release_machine { script('release', 60, file => $config->{machineLock}, who => $holder) }

# Describes a duration in its largest unit: `2 days`.
sub length_of {
    my ($seconds) = @_;
    for ([ 86_400, 'day' ], [ 3_600, 'hour' ], [ 60, 'minute' ]) {
        my ($size, $name) = @$_;
        next if $seconds < $size;
        my $count = int($seconds / $size);
        return "$count $name" . ($count == 1 ? '' : 's');
    }
    return 'less than a minute';
}

sub time_text {
    my @t = gmtime $_[0];
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1, @t[ 3, 2, 1, 0 ];
}

1;
