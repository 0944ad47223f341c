# Reads the state that a closure wants. Keeps the record of hydra-ops's changes to the machine, in /var/lib/hydra-ops.
#
# `managed` lists every change by hydra-ops that was not undone, in the format of the manifest:
#   ["path", path]  ["dir", created folder]  ["saved", path, number of its original in saved/]
#   ["unit", name, "enable" or "", text, hash of restartTriggers]   as it last started successfully
# `managed` is written before any change, as a promise of what may exist, and again at the end.
#
# `owner` is the UUID of the deployment that `managed` belongs to. The UUID is an argument, because a closure is the
# same for every deployment of one definition. `owner` is written under the lock, before the first promise. The entries
# of `managed` therefore belong to the owner, even after a kill at any point. If an administrator removes the file, the
# next deployment takes over.
package State;
use strict;
use warnings;

my $own = '/var/lib/hydra-ops';

sub saved_file { "$own/saved/$_[0]" }

# --- wanted ------------------------------------------------------------------------------------------------------

sub manifest_records {
    my ($closure) = @_;
    open my $in, '<:raw', "$closure/manifest.nix" or die "cannot read $closure/manifest.nix: $!\n";
    my $text = do { local $/; <$in> };
    return Records::parse_file($text // '', "$closure/manifest.nix");
}

# Number of strings in a record of each kind.
my %size = (file => 6, source => 6, unit => 5, apt => 2, host => 3, activate => 2, keep => 2);

sub read_manifest {
    my ($closure) = @_;
    my %want = (files => {}, units => {}, hosts => [], apt => {}, links => {});
    for my $record (manifest_records($closure)) {
        my ($kind, @rest) = @$record;
        # A newer closure may have records that this program does not support. A guess could leave the machine half
        # configured.
        die "the manifest has a record of kind '$kind' with ${\ scalar @$record} strings, which is not known here\n"
            unless ($size{$kind} // 0) == @$record;
        if ($kind eq 'file' || $kind eq 'source') {
            my ($path, $mode, $user, $group, $content) = @rest;
            $want{files}{$path} = {
                mode => oct $mode, user => $user, group => $group,
                ($kind eq 'file' ? 'text' : 'source') => $content,
            };
        }
        elsif ($kind eq 'unit') { @{ $want{units}{ $rest[0] } }{qw(enable text trigger)} = @rest[1 .. 3] }
        elsif ($kind eq 'apt')  { $rest[0] =~ /^([^=]+)/ and $want{apt}{$1} = 1 }
        elsif ($kind eq 'host') { push @{ $want{hosts} }, \@rest }
        elsif ($kind eq 'activate') { $want{activate} = $rest[0] }
        # `keep` needs no action: its text only keeps a path in the closure.
    }
    $want{links} = programs($closure);
    return \%want;
}

# Returns links in /usr/local to the packages' programs. Shells, ssh, sudo and units all have /usr/local on their
# PATH.
sub programs {
    my ($closure) = @_;
    my %links;
    for my $folder (qw(bin sbin)) {
        opendir my $programs, "$closure/$folder" or next;
        $links{"/usr/local/$folder/$_"} = "$closure/$folder/$_" for grep { !/^\./ } readdir $programs;
    }
    return \%links;
}

sub wanted_paths {
    my ($want) = @_;
    return (keys %{ $want->{files} }, keys %{ $want->{links} }, map { Units::file_of($_) } keys %{ $want->{units} });
}

# --- done --------------------------------------------------------------------------------------------------------

# Refuses a machine of another deployment; otherwise the files of that deployment would be removed as obsolete.
sub refuse_other_owner {
    my ($deployment) = @_;
    my $owner = Files::read_bytes("$own/owner") // return;
    chomp $owner;
    die "the machine belongs to deployment $owner ($own/owner); nothing was changed\n"
        if defined $deployment && $owner ne $deployment;
}

# Takes ownership. A manual start without a deployment continues for the current owner.
sub own {
    my ($deployment) = @_;
    write_own('owner', "$deployment\n") if defined $deployment;
}

sub read_managed {
    my %have = (paths => {}, dirs => {}, saved => {}, units => {});
    my $text = Files::read_bytes("$own/managed") // return \%have;
    for my $record (Records::parse_file($text, "$own/managed")) {
        my ($kind, $name, @rest) = @$record;
        if    ($kind eq 'path')  { $have{paths}{$name} = 1 }
        elsif ($kind eq 'dir')   { $have{dirs}{$name} = 1 }
        elsif ($kind eq 'saved') { $have{saved}{$name} = $rest[0] }
        elsif ($kind eq 'unit')  { @{ $have{units}{$name} }{qw(enable text trigger)} = @rest }
    }
    return \%have;
}

sub write_managed {
    my ($managed) = @_;
    my $units = $managed->{units};
    write_own('managed', Records::format_file(
        (map { [ 'path', $_ ] } sort keys %{ $managed->{paths} }),
        (map { [ 'dir', $_ ] } sort keys %{ $managed->{dirs} }),
        (map { [ 'saved', $_, $managed->{saved}{$_} ] } sort keys %{ $managed->{saved} }),
        (map { [ 'unit', $_, @{ $units->{$_} }{qw(enable text trigger)} ] } sort keys %$units),
    ));
}

# Writes a file of hydra-ops, and returns when the file is on the disk.
sub write_own {
    my ($name, $text) = @_;
    Files::make_parents("$own/$name");
    Files::put("$own/$name", { text => $text, mode => 0600, uid => 0, gid => 0 });
    return 1;
}

# Lists the folders in which a kill may have left a staged file.
sub folders {
    my ($want, $have) = @_;
    my %folders = map { (Files::parent($_) => 1) } wanted_paths($want), keys %{ $have->{paths} }, '/etc/hosts',
        "$own/managed", saved_file(1);
    return sort keys %folders;
}

# --- the difference ----------------------------------------------------------------------------------------------

# Saves existing files that are in the way, records every planned write, and returns the plan.
sub claim {
    my ($want, $have) = @_;
    my %wanted  = map { ($_ => 1) } wanted_paths($want);
    my %saved   = %{ $have->{saved} };
    my %needed  = map { ($_ => 1) } map { folders_of($_) } keys %wanted;
    my %made    = map { ($_ => 1) } map { Files::missing_parents($_) } keys %wanted;
    my @units   = map { unit_plan($_, $want->{units}{$_}, $have->{units}{$_}) } sort keys %{ $want->{units} };
    my %dropped = map { ($_ => $have->{units}{$_}) } grep { !$want->{units}{$_} } keys %{ $have->{units} };
    my $number  = 0;
    for (values %saved) { $number = $_ if $_ > $number }
    for my $path (sort keys %wanted) {
        next if $have->{paths}{$path} || $have->{dirs}{$path} || $want->{links}{$path} || !Files::exists_at($path);
        $saved{$path} = ++$number;
        Files::save($path, saved_file($number));
    }
    my %plan = (
        units         => \@units,
        dropped_units => \%dropped,
        dropped_paths => [ sort grep { !$wanted{$_} } keys %{ $have->{paths} } ],
        dropped_dirs  => [ grep { !$needed{$_} } keys %{ $have->{dirs} } ],
        saved         => \%saved,
        wanted        => \%wanted,
        dirs          => { map { ($_ => 1) } grep { $needed{$_} } keys %{ $have->{dirs} }, keys %made },
        needs_systemd => scalar(@units || %dropped || grep { m{^/etc/systemd/} } keys %wanted, keys %{ $have->{paths} }),
    );
    write_managed({
        paths => { %{ $have->{paths} }, %wanted },
        dirs  => { %{ $have->{dirs} }, %made },
        saved => \%saved,
        units => { %dropped, map { ($_->{name} => $_->{changed} ? pending($_) : record_of($_)) } @units },
    });
    return \%plan;
}

sub folders_of {
    my ($path) = @_;
    my @folders;
    for (my $folder = Files::parent($path); $folder ne '/'; $folder = Files::parent($folder)) { push @folders, $folder }
    return @folders;
}

sub unit_plan {
    my ($name, $want, $have) = @_;
    return {
        %$want,
        name       => $name,
        is_first   => !$have,
        was_on     => $have && $have->{enable},
        turned_on  => $want->{enable} && !($have && $have->{enable}),
        turned_off => $have && $have->{enable} && !$want->{enable},
        changed    => !$have || $have->{text} ne $want->{text} || $have->{trigger} ne $want->{trigger},
    };
}

sub record_of {
    my ($unit) = @_;
    return { map { ($_ => $unit->{$_}) } qw(enable text trigger) };
}

# Returns a record that differs from every unit, so that the next run starts the unit again. The record says "enable"
# if the unit may be enabled now.
sub pending {
    my ($unit) = @_;
    return { enable => $unit->{enable} || $unit->{was_on} ? 'enable' : '', text => '', trigger => '' };
}

# Returns the final record. The next run starts failed units again, and tries again to remove leftover units.
sub settled {
    my ($plan, $failed, $leftovers) = @_;
    my %stuck = map { ($_ => $plan->{dropped_units}{$_}) } grep { $plan->{dropped_units}{$_} } @$leftovers;
    my %paths = (%{ $plan->{wanted} }, map { (Units::file_of($_) => 1) } keys %stuck);
    return {
        paths => \%paths,
        dirs  => $plan->{dirs},
        saved => { map { ($_ => $plan->{saved}{$_}) } grep { $paths{$_} } keys %{ $plan->{saved} } },
        units => { %stuck, map { ($_->{name} => $failed->{ $_->{name} } ? pending($_) : record_of($_)) } @{ $plan->{units} } },
    };
}

# Removes originals that no record names any longer.
sub forget_saved {
    my ($managed) = @_;
    my %kept = map { ($_ => 1) } values %{ $managed->{saved} };
    Files::remove("$own/saved/$_") for grep { /^\d+\z/ && !$kept{$_} } Files::names_in("$own/saved");
}

1;
