//! The document of ListBuckets: read as a whole, and written again with a part of its buckets.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use super::error::escape_xml;

/// A list of buckets ("ListBuckets (GetService)", OSS API reference).
#[derive(Debug)]
pub(crate) struct BucketList {
    root: XmlElement,
}

/// The reason why a document is not a list of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBucketList {
    /// The text is not XML without a document type.
    #[error("it is not well-formed XML")]
    Xml,
    /// The root is another element.
    #[error("its root is not ListAllMyBucketsResult")]
    Root,
    /// An element occurs twice or is missing.
    #[error("it has not exactly one element Buckets")]
    Buckets,
    /// A bucket has no name, or several.
    #[error("a bucket has not exactly one name")]
    Name,
}

/// A bucket in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListedBucket<'a> {
    /// The name.
    pub(crate) name: &'a str,
    /// The id of the region, if the list has it.
    pub(crate) region: Option<&'a str>,
}

#[derive(Debug, Default)]
struct XmlElement {
    name: String,
    text: String,
    children: Vec<Self>,
}

impl BucketList {
    /// Reads a document. Elements of the root that no list has are left out.
    ///
    /// # Errors
    /// [`InvalidBucketList`], if the document is anything else.
    pub(crate) fn parse(document: &[u8]) -> Result<Self, InvalidBucketList> {
        let text = str::from_utf8(document).map_err(|_| InvalidBucketList::Xml)?;
        let mut root = XmlElement::parse(text)?;
        if root.name != "ListAllMyBucketsResult" {
            return Err(InvalidBucketList::Root);
        }
        // An element that is unknown may name other buckets.
        root.children.retain(|child| KNOWN.contains(&child.name.as_str()));
        let buckets = root.only_child("Buckets").ok_or(InvalidBucketList::Buckets)?;
        let is_bucket = |child: &XmlElement| child.name == "Bucket" && child.only_child("Name").is_some();
        if !buckets.children.iter().all(is_bucket) {
            return Err(InvalidBucketList::Name);
        }
        Ok(Self { root })
    }

    /// Removes the buckets that `is_kept` does not accept.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(ListedBucket<'_>) -> bool) {
        let lists = self.root.children.iter_mut().filter(|child| child.name == "Buckets");
        for list in lists {
            list.children.retain(|bucket| bucket.listed().is_some_and(&is_kept));
        }
    }

    /// Returns the document.
    pub(crate) fn to_xml(&self) -> String {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.root.write(&mut xml);
        xml
    }
}

impl XmlElement {
    fn parse(text: &str) -> Result<Self, InvalidBucketList> {
        const MALFORMED: InvalidBucketList = InvalidBucketList::Xml;
        let mut reader = Reader::from_str(text);
        // The first element is the parent of the root.
        let mut open = vec![Self::default()];
        loop {
            let innermost = open.last_mut().ok_or(MALFORMED)?;
            match reader.read_event().map_err(|_| MALFORMED)? {
                Event::Start(tag) => {
                    let name = tag.name().into_inner().to_owned();
                    if open.len() == DEPTH_MAX {
                        return Err(MALFORMED);
                    }
                    open.push(Self { name, ..Self::default() });
                }
                Event::Empty(tag) => {
                    let name = tag.name().into_inner().to_owned();
                    innermost.children.push(Self { name, ..Self::default() });
                }
                Event::End(_) => {
                    let element = open.pop().ok_or(MALFORMED)?;
                    open.last_mut().ok_or(MALFORMED)?.children.push(element);
                }
                Event::Text(part) => innermost.text.push_str(&part.xml10_content()),
                Event::CData(part) => innermost.text.push_str(&part.xml10_content()),
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|_| MALFORMED)?;
                    match character {
                        Some(character) => innermost.text.push(character),
                        None => {
                            let name = reference.xml10_content();
                            innermost.text.push_str(resolve_predefined_entity(&name).ok_or(MALFORMED)?);
                        }
                    }
                }
                Event::Eof => break,
                Event::DocType(_) => return Err(MALFORMED),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        let (Some(mut document), true) = (open.pop(), open.is_empty()) else { return Err(MALFORMED) };
        match document.children.pop() {
            Some(root) if document.children.is_empty() && document.text.trim().is_empty() => Ok(root),
            Some(_) | None => Err(MALFORMED),
        }
    }

    /// Returns the child of this name, if there is exactly one.
    fn only_child(&self, name: &str) -> Option<&Self> {
        let mut children = self.children.iter().filter(|child| child.name == name);
        children.next().filter(|_| children.next().is_none())
    }

    fn listed(&self) -> Option<ListedBucket<'_>> {
        let text = |name| self.only_child(name).map(|child| child.text.trim());
        let location = text("Location").map(|text| text.strip_prefix("oss-").unwrap_or(text));
        Some(ListedBucket { name: text("Name")?, region: location.or_else(|| text("Region")) })
    }

    fn write(&self, xml: &mut String) {
        let Self { name, text, children } = self;
        xml.extend(["<", name, ">"]);
        // Text beside elements is whitespace, or has no meaning.
        if children.is_empty() {
            xml.push_str(&escape_xml(text));
        }
        for child in children {
            child.write(xml);
        }
        xml.extend(["</", name, ">"]);
    }
}

/// The elements of the root of a list.
const KNOWN: [&str; 7] = ["Prefix", "Marker", "MaxKeys", "IsTruncated", "NextMarker", "Owner", "Buckets"];
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::{BucketList, InvalidBucketList, ListedBucket};

    #[test]
    fn a_list_is_written_again_with_the_accepted_buckets() {
        let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- c -->\
            <ListAllMyBucketsResult xmlns=\"http://doc.oss-cn-hangzhou.aliyuncs.com\">\n  \
            <Prefix/><IsTruncated>true</IsTruncated><NextMarker>z&amp;&#62;</NextMarker>\
            <Owner><ID>1</ID><DisplayName>o</DisplayName></Owner><Other><Name>secret</Name></Other>\
            <Buckets>\n <Bucket><Name>a</Name><Location>oss-cn-hangzhou</Location></Bucket> \
            <Bucket><Name>b</Name><Region>cn-beijing</Region><New><X>1</X></New></Bucket>\
            <Bucket><Name>c</Name></Bucket></Buckets></ListAllMyBucketsResult>";
        let mut list = BucketList::parse(document.as_bytes()).expect("a list");
        list.retain(|bucket| match bucket.name {
            "a" => bucket.region == Some("cn-hangzhou"),
            "b" => bucket.region == Some("cn-beijing"),
            _ => {
                assert_eq!(bucket, ListedBucket { name: "c", region: None });
                false
            }
        });
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListAllMyBucketsResult><Prefix></Prefix>\
            <IsTruncated>true</IsTruncated><NextMarker>z&amp;&gt;</NextMarker>\
            <Owner><ID>1</ID><DisplayName>o</DisplayName></Owner><Buckets>\
            <Bucket><Name>a</Name><Location>oss-cn-hangzhou</Location></Bucket>\
            <Bucket><Name>b</Name><Region>cn-beijing</Region><New><X>1</X></New></Bucket>\
            </Buckets></ListAllMyBucketsResult>";
        assert_eq!(list.to_xml(), expected);
    }

    #[test]
    fn anything_else_is_not_a_list() {
        let list = |content: &str| format!("<ListAllMyBucketsResult>{content}</ListAllMyBucketsResult>");
        for (document, expected) in [
            (String::new(), InvalidBucketList::Xml),
            ("text".to_owned(), InvalidBucketList::Xml),
            (list("<Buckets>"), InvalidBucketList::Xml),
            (list("<Buckets></Buckets>") + "<Buckets/>", InvalidBucketList::Xml),
            (list("<Buckets></Buckets>") + "<x", InvalidBucketList::Xml),
            (format!("<!DOCTYPE x [<!ENTITY a 'b'>]>{}", list("<Buckets/>")), InvalidBucketList::Xml),
            (list("<Buckets>&a;</Buckets>"), InvalidBucketList::Xml),
            ("<Error><Code>x</Code></Error>".to_owned(), InvalidBucketList::Root),
            (list(""), InvalidBucketList::Buckets),
            (list("<Buckets/><Buckets/>"), InvalidBucketList::Buckets),
            (list("<Buckets><Bucket/></Buckets>"), InvalidBucketList::Name),
            (
                list("<Buckets><Bucket><Name>a</Name><Name>b</Name></Bucket></Buckets>"),
                InvalidBucketList::Name,
            ),
            (list("<Buckets><Item><Name>a</Name></Item></Buckets>"), InvalidBucketList::Name),
        ] {
            let found = BucketList::parse(document.as_bytes()).err();
            assert_eq!(found, Some(expected), "{document}");
        }
        assert_eq!(BucketList::parse(b"\xff").err(), Some(InvalidBucketList::Xml));
    }
}
